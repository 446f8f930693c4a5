// See loops.h. LEVEL is the name of the table that this compilation makes.
#include "loops.h"

#include <cmath>
#include <cstring>

namespace {
// BF16 as its bits, rounded to nearest, ties to even.
struct Bf16 {
  uint16_t bits;
};

inline float wide(float x) { return x; }
inline double wide(double x) { return x; }
inline float wide(Bf16 x) {
  uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}

template <typename T>
inline T narrow(decltype(wide(T{})) x) {
  if constexpr (sizeof(T) == 2) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40;
    return {static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded)};
  } else {
    return x;
  }
}

// e^x within 2 units of the last place, in a form that vectorises: 2^n times a polynomial (Cephes, expf).
inline float exponential(float x) {
  float clipped = x < -87.0F ? -87.0F : (x > 88.0F ? 88.0F : x);
  float n = std::nearbyint(clipped * 1.44269504088896341F);
  float r = clipped - n * 0.693359375F + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return p * power;
}
inline double exponential(double x) { return std::exp(x); }

template <typename T>
using Wide = decltype(wide(T{}));

template <typename T>
void rms_norm(const void* x_, const void* w_, void* y_, void* scale_, int64_t first, int64_t last, int64_t n,
              double eps) {
  using W = Wide<T>;
  auto w = static_cast<const T*>(w_);
  for (int64_t row = first; row < last; row++) {
    auto x = static_cast<const T*>(x_) + row * n;
    auto y = static_cast<T*>(y_) + row * n;
    W sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += wide(x[i]) * wide(x[i]);
    W scale = 1 / std::sqrt(sum / static_cast<W>(n) + static_cast<W>(eps));
    static_cast<W*>(scale_)[row] = scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = narrow<T>(wide(x[i]) * scale * wide(w[i]));
  }
}

template <typename T>
void rms_norm_back(const void* dy_, const void* x_, const void* w_, const void* scale_, void* dx_, void* dw_,
                   int64_t first, int64_t last, int64_t n) {
  using W = Wide<T>;
  auto w = static_cast<const T*>(w_);
  auto dw = static_cast<W*>(dw_);
  for (int64_t row = first; row < last; row++) {
    auto x = static_cast<const T*>(x_) + row * n;
    auto dy = static_cast<const T*>(dy_) + row * n;
    auto dx = static_cast<T*>(dx_) + row * n;
    W scale = static_cast<const W*>(scale_)[row];
    W sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += wide(dy[i]) * wide(w[i]) * wide(x[i]);
    W shared = sum * scale * scale * scale / static_cast<W>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      dw[i] += wide(dy[i]) * wide(x[i]) * scale;
      dx[i] = narrow<T>(wide(dy[i]) * wide(w[i]) * scale - wide(x[i]) * shared);
    }
  }
}

template <typename T>
void swiglu(const void* both_, void* act_, int64_t first, int64_t last, int64_t n) {
  using W = Wide<T>;
  for (int64_t row = first; row < last; row++) {
    auto gate = static_cast<const T*>(both_) + row * 2 * n;
    auto up = gate + n;
    auto act = static_cast<T*>(act_) + row * n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      W g = wide(gate[i]);
      act[i] = narrow<T>(g / (1 + exponential(-g)) * wide(up[i]));
    }
  }
}

template <typename T>
void swiglu_back(const void* both_, const void* dact_, void* dboth_, void* act_, int64_t first, int64_t last,
                 int64_t n) {
  using W = Wide<T>;
  for (int64_t row = first; row < last; row++) {
    auto gate = static_cast<const T*>(both_) + row * 2 * n;
    auto up = gate + n;
    auto dgate = static_cast<T*>(dboth_) + row * 2 * n;
    auto dup = dgate + n;
    auto dact = static_cast<const T*>(dact_) + row * n;
    auto act = static_cast<T*>(act_) + row * n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      W g = wide(gate[i]), u = wide(up[i]), d = wide(dact[i]);
      W sigmoid = 1 / (1 + exponential(-g));
      W silu = g * sigmoid;
      act[i] = narrow<T>(silu * u);
      dgate[i] = narrow<T>(d * u * (sigmoid + silu * (1 - sigmoid)));
      dup[i] = narrow<T>(d * silu);
    }
  }
}

template <typename T>
void combine(const void* h_, const void* back_, const int64_t* place, const void* weight_, void* out_, int64_t first,
             int64_t last, int64_t k, int64_t n) {
  using W = Wide<T>;
  constexpr int64_t BLOCK = 256;  // of sums, in registers and the nearest cache
  for (int64_t t = first; t < last; t++) {
    auto weight = static_cast<const W*>(weight_) + t * k;
    for (int64_t start = 0; start < n; start += BLOCK) {
      int64_t width = n - start < BLOCK ? n - start : BLOCK;
      W sums[BLOCK] = {};
      for (int64_t j = 0; j < k; j++) {
        auto row = static_cast<const T*>(back_) + place[t * k + j] * n + start;
        W factor = weight[j];
#pragma omp simd
        for (int64_t i = 0; i < width; i++) sums[i] += factor * wide(row[i]);
      }
      auto h = static_cast<const T*>(h_) + t * n + start;
      auto out = static_cast<T*>(out_) + t * n + start;
#pragma omp simd
      for (int64_t i = 0; i < width; i++) out[i] = narrow<T>(wide(h[i]) + sums[i]);
    }
  }
}

template <typename T>
void combine_back(const void* dout_, const void* back_, const int64_t* place, const void* weight_, void* dback_,
                  void* dweight_, int64_t first, int64_t last, int64_t k, int64_t n) {
  using W = Wide<T>;
  for (int64_t t = first; t < last; t++) {
    auto dout = static_cast<const T*>(dout_) + t * n;
    for (int64_t j = t * k; j < (t + 1) * k; j++) {
      auto row = static_cast<const T*>(back_) + place[j] * n;
      auto drow = static_cast<T*>(dback_) + place[j] * n;
      W weight = static_cast<const W*>(weight_)[j], sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; i++) {
        sum += wide(dout[i]) * wide(row[i]);
        drow[i] = narrow<T>(wide(dout[i]) * weight);
      }
      static_cast<W*>(dweight_)[j] = sum;
    }
  }
}

template <typename T>
constexpr ds::Loops loops() {
  return {rms_norm<T>, rms_norm_back<T>, swiglu<T>, swiglu_back<T>, combine<T>, combine_back<T>};
}
}  // namespace

const ds::Loops ds::LEVEL[ds::FORMATS] = {loops<float>(), loops<double>(), loops<Bf16>()};
