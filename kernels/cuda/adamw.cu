// One AdamW update (arXiv 1711.05101, algorithm 2) in one pass: clipping, moments, master weight, and the weight as the model
// computes with it. The twin is LibTorch's fused update, between a product and a copy.
#include "common.cuh"

namespace {
// The numbers of an update; gradients are multiplied by `clip`.
struct AdamW {
  float clip, rate, beta1, beta2, decay, eps;
  float correction1, root2;  // 1 − β₁ⁿ, √(1 − β₂ⁿ)

  __device__ void update(float& w, float g, float& m, float& v) const {
    g *= clip;
    w -= rate * decay * w;
    m = fmaf(1 - beta1, g - m, m);
    v = fmaf(beta2, v, (1 - beta2) * g * g);
    w -= rate / correction1 * m / (sqrtf(v) / root2 + eps);
  }
};

// Four neighbours of FP32 or BF16.
template <class T>
struct Four {
  T of[4];
};
__device__ inline void put_four(float* to, const Four<float>& four) {
  put(to, make_uint4(__float_as_uint(four.of[0]), __float_as_uint(four.of[1]), __float_as_uint(four.of[2]),
                     __float_as_uint(four.of[3])));
}
__device__ inline void put_four(Bf16* to, const Four<Bf16>& four) {
  *reinterpret_cast<uint2*>(to) = make_uint2(four.of[0].bits | static_cast<u32>(four.of[1].bits) << 16,
                                             four.of[2].bits | static_cast<u32>(four.of[3].bits) << 16);
}

// Elements `first`… of n, zeros beyond the end. Tensors of LibTorch start at 16 bytes, parts of them need not: then ALIGNED is
// false.
template <class T, bool ALIGNED>
struct Elements {
  static __device__ Four<T> read(const T* from, i64 first, i64 n) {
    Four<T> four;
    if (ALIGNED && first + 4 <= n) return *reinterpret_cast<const Whole*>(from + first);
#pragma unroll
    for (int i = 0; i < 4; i++) four.of[i] = first + i < n ? from[first + i] : T{};
    return four;
  }
  static __device__ void write(T* to, const Four<T>& four, i64 first, i64 n) {
    if (ALIGNED && first + 4 <= n) return put_four(to + first, four);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (first + i < n) to[first + i] = four.of[i];
    }
  }
  struct alignas(4 * sizeof(T)) Whole : Four<T> {};
};

// A thread has four elements. `copy` may be null.
template <class T, bool ALIGNED>
__device__ void adamw(float* w, const float* g, T* m, T* v, Bf16* copy, i64 n, AdamW numbers) {
  using Wide = Elements<float, ALIGNED>;
  using Moments = Elements<T, ALIGNED>;
  i64 first = (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
  if (first >= n) return;
  auto weights = Wide::read(w, first, n), slopes = Wide::read(g, first, n);
  auto first_moments = Moments::read(m, first, n), second_moments = Moments::read(v, first, n);
  Four<Bf16> narrowed;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float moment1 = wide(first_moments.of[i]), moment2 = wide(second_moments.of[i]);
    numbers.update(weights.of[i], slopes.of[i], moment1, moment2);
    narrow(moment1, first_moments.of[i]);
    narrow(moment2, second_moments.of[i]);
    narrow(weights.of[i], narrowed.of[i]);
  }
  Wide::write(w, weights, first, n);
  Moments::write(m, first_moments, first, n);
  Moments::write(v, second_moments, first, n);
  if (copy) Elements<Bf16, ALIGNED>::write(copy, narrowed, first, n);
}
}  // namespace

// In the format of the moments.
#define ADAMW(ending, T, ALIGNED)                                                                                  \
  extern "C" __global__ void adamw_##ending(float* w, const float* g, T* m, T* v, Bf16* copy, i64 n, float clip,  \
                                            float rate, float beta1, float beta2, float decay, float eps,         \
                                            float correction1, float root2) {                                     \
    adamw<T, ALIGNED>(w, g, m, v, copy, n, AdamW{clip, rate, beta1, beta2, decay, eps, correction1, root2});      \
  }
FOR_FORMATS(ADAMW)
