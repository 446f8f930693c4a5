// RMSNorm and its way back, rows of n. The twin is rms_norm in cpp/loops.cpp.
#include "common.cuh"

namespace {
// y = x / √(mean x² + ε) · w; scale [rows] keeps 1 / √(…). A block a row; its second reading comes from the cache.
template <class T, bool ALIGNED>
__device__ void rms_norm(const T* x, const T* w, T* y, float* scale, i64 n, float eps) {
  constexpr int N = Pack<T>::N;
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  float squares = 0;
  for (i64 first = threadIdx.x * N; first < n; first += blockDim.x * N) {
    auto pack = load<T, ALIGNED>(x, first, n);
#pragma unroll
    for (int i = 0; i < N; i++) squares += wide(pack.of[i]) * wide(pack.of[i]);
  }
  float root = 1 / sqrtf(sum_of_block(squares) / static_cast<float>(n) + eps);
  if (threadIdx.x == 0) scale[blockIdx.x] = root;
  for (i64 first = threadIdx.x * N; first < n; first += blockDim.x * N) {
    auto pack = load<T, ALIGNED>(x, first, n), weight = load<T, ALIGNED>(w, first, n);
#pragma unroll
    for (int i = 0; i < N; i++) narrow(wide(pack.of[i]) * root * wide(weight.of[i]), pack.of[i]);
    store<T, ALIGNED>(y, pack, first, n);
  }
}

// dx, and shares [blocks, n] of dw: block b has the rows from b · per_block on. Shared memory: a sum for every element of a
// row's packs, each the business of one thread; what is next to each other there belongs to neighbouring threads.
template <class T, bool ALIGNED>
__device__ void rms_norm_back(const T* dy, const T* x, const T* w, const float* scale, T* dx, float* shares, i64 rows,
                              i64 n, i64 per_block) {
  constexpr int N = Pack<T>::N;
  DYNAMIC_SHARED(float, dw);
  u32 packs = static_cast<u32>((n + N - 1) / N);
  for (u32 i = threadIdx.x; i < packs; i += blockDim.x) {
#pragma unroll
    for (int of = 0; of < N; of++) dw[of * packs + i] = 0;
  }
  i64 row = blockIdx.x * per_block, last = min(rows, row + per_block);
  for (; row < last; row++) {
    float sum = 0;
    for (u32 i = threadIdx.x; i < packs; i += blockDim.x) {
      i64 first = static_cast<i64>(i) * N;
      auto g = load<T, ALIGNED>(dy + row * n, first, n), v = load<T, ALIGNED>(x + row * n, first, n);
      auto weight = load<T, ALIGNED>(w, first, n);
#pragma unroll
      for (int of = 0; of < N; of++) sum += wide(g.of[of]) * wide(weight.of[of]) * wide(v.of[of]);
    }
    float root = scale[row], common = sum_of_block(sum) * root * root * root / static_cast<float>(n);
    for (u32 i = threadIdx.x; i < packs; i += blockDim.x) {
      i64 first = static_cast<i64>(i) * N;
      auto g = load<T, ALIGNED>(dy + row * n, first, n), v = load<T, ALIGNED>(x + row * n, first, n);
      auto weight = load<T, ALIGNED>(w, first, n);
#pragma unroll
      for (int of = 0; of < N; of++) {
        dw[of * packs + i] += wide(g.of[of]) * wide(v.of[of]) * root;
        narrow(wide(g.of[of]) * wide(weight.of[of]) * root - wide(v.of[of]) * common, g.of[of]);
      }
      store<T, ALIGNED>(dx + row * n, g, first, n);
    }
  }
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) shares[blockIdx.x * n + i] = dw[i % N * packs + i / N];
}
}  // namespace

#define RMS_NORM(ending, T, ALIGNED)                                                                           \
  extern "C" __global__ void rms_norm_##ending(const T* x, const T* w, T* y, float* scale, i64 n, float eps) { \
    rms_norm<T, ALIGNED>(x, w, y, scale, n, eps);                                                              \
  }                                                                                                            \
  extern "C" __global__ void rms_norm_back_##ending(const T* dy, const T* x, const T* w, const float* scale, T* dx, \
                                                    float* shares, i64 rows, i64 n, i64 per_block) {           \
    rms_norm_back<T, ALIGNED>(dy, x, w, scale, dx, shares, rows, n, per_block);                                \
  }
FOR_FORMATS(RMS_NORM)
