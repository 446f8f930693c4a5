// RMSNorm and its way back, rows of n. The twin is rms_norm in cpp/loops.cpp.
#include "common.cuh"

namespace {
// Packs of a row that a thread holds: rows of 8,192 are read once.
template <class T>
constexpr int HELD = 32 / Pack<T>::N;
constexpr int ROW_THREADS = 256;  // of a block, at most
constexpr int HELD_BACK = 4;  // on the way back, which holds two rows; the rest of them comes from the cache

template <class T>
__device__ inline float squares_of(const Pack<T>& pack, float sum) {
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) sum += wide(pack.of[i]) * wide(pack.of[i]);
  return sum;
}

template <class T>
__device__ inline Pack<T> normed(Pack<T> pack, const Pack<T>& weight, float root) {
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) narrow(wide(pack.of[i]) * root * wide(weight.of[i]), pack.of[i]);
  return pack;
}

// y = x / √(mean x² + ε) · w; scale [rows] keeps 1 / √(…). A block a row.
template <class T, bool ALIGNED>
__device__ void rms_norm(const T* x, const T* w, T* y, float* scale, i64 n, float eps) {
  constexpr int HELD = ::HELD<T>;
  using Held = Row<T, ALIGNED, HELD>;
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  Held row;
  row.read(x, n);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < HELD; i++) squares = squares_of(row.packs[i], squares);
  for (i64 first = Held::first(HELD); first < n; first += blockDim.x * Pack<T>::N) {
    squares = squares_of(load<T, ALIGNED, true>(x, first, n), squares);
  }
  float root = 1 / sqrtf(sum_of_block(squares) / static_cast<float>(n) + eps);
  if (threadIdx.x == 0) scale[blockIdx.x] = root;
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    i64 first = Held::first(i);
    store<T, ALIGNED>(y, normed(row.packs[i], load<T, ALIGNED, true>(w, first, n), root), first, n);
  }
  for (i64 first = Held::first(HELD); first < n; first += blockDim.x * Pack<T>::N) {
    auto pack = load<T, ALIGNED, true>(x, first, n);
    store<T, ALIGNED>(y, normed(pack, load<T, ALIGNED, true>(w, first, n), root), first, n);
  }
}

template <class T>
__device__ inline float products_of(const Pack<T>& g, const Pack<T>& weight, const Pack<T>& v, float sum) {
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) sum += wide(g.of[i]) * wide(weight.of[i]) * wide(v.of[i]);
  return sum;
}

// Sums of the weight's gradient, in shared memory: one for every element of a row's packs, each the business of one thread;
// what is next to each other there belongs to neighbouring threads.
struct Sums {
  float* of;
  u32 packs;

  // The gradient of a pack of x, whose part of the weight's gradient is added.
  template <class T>
  __device__ Pack<T> back(Pack<T> g, const Pack<T>& weight, const Pack<T>& v, float root, float common, u32 pack) const {
    if (pack >= packs) return g;
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) {
      of[i * packs + pack] += wide(g.of[i]) * wide(v.of[i]) * root;
      narrow(wide(g.of[i]) * wide(weight.of[i]) * root - wide(v.of[i]) * common, g.of[i]);
    }
    return g;
  }
};

// dx, and shares [blocks, n] of dw: block b has the rows from b · per_block on.
template <class T, bool ALIGNED>
__device__ void rms_norm_back(const T* dy, const T* x, const T* w, const float* scale, T* dx, float* shares, i64 rows,
                              i64 n, i64 per_block) {
  constexpr int N = Pack<T>::N, HELD = HELD_BACK;
  using Held = Row<T, ALIGNED, HELD>;
  DYNAMIC_SHARED(float, dw);
  Sums sums{dw, static_cast<u32>((n + N - 1) / N)};
  for (u32 i = threadIdx.x; i < sums.packs; i += blockDim.x) {
#pragma unroll
    for (int of = 0; of < N; of++) dw[of * sums.packs + i] = 0;
  }
  i64 row = blockIdx.x * per_block, last = min(rows, row + per_block);
  for (; row < last; row++) {
    const T *own_g = dy + row * n, *own_v = x + row * n;
    Held g, v;
    g.read(own_g, n);
    v.read(own_v, n);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
      sum = products_of(g.packs[i], load<T, ALIGNED, true>(w, Held::first(i), n), v.packs[i], sum);
    }
    for (i64 first = Held::first(HELD); first < n; first += blockDim.x * N) {
      auto more_g = load<T, ALIGNED, true>(own_g, first, n), more_v = load<T, ALIGNED, true>(own_v, first, n);
      sum = products_of(more_g, load<T, ALIGNED, true>(w, first, n), more_v, sum);
    }
    float root = scale[row], common = sum_of_block(sum) * root * root * root / static_cast<float>(n);
    auto give = [&](const Pack<T>& of_g, const Pack<T>& of_v, i64 first) {
      auto weight = load<T, ALIGNED, true>(w, first, n);
      auto back = sums.back(of_g, weight, of_v, root, common, static_cast<u32>(first / N));
      store<T, ALIGNED>(dx + row * n, back, first, n);
    };
#pragma unroll
    for (int i = 0; i < HELD; i++) give(g.packs[i], v.packs[i], Held::first(i));
    for (i64 first = Held::first(HELD); first < n; first += blockDim.x * N) {
      give(load<T, ALIGNED>(own_g, first, n), load<T, ALIGNED>(own_v, first, n), first);
    }
  }
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) shares[blockIdx.x * n + i] = dw[i % N * sums.packs + i / N];
}
}  // namespace

#define RMS_NORM(ending, T, ALIGNED)                                                                           \
  extern "C" __global__ void rms_norm_##ending(const T* x, const T* w, T* y, float* scale, i64 n, float eps) { \
    rms_norm<T, ALIGNED>(x, w, y, scale, n, eps);                                                              \
  }                                                                                                            \
  /* Registers for two blocks a processor, so that one reads while the other waits for its sum. */             \
  extern "C" __global__ void __launch_bounds__(ROW_THREADS, 2) rms_norm_back_##ending(                             \
      const T* dy, const T* x, const T* w, const float* scale, T* dx, float* shares, i64 rows, i64 n,          \
      i64 per_block) {                                                                                         \
    rms_norm_back<T, ALIGNED>(dy, x, w, scale, dx, shares, rows, n, per_block);                                \
  }
FOR_FORMATS(RMS_NORM)
