// silu(gate) · up and its way back; rows of `both` are [gate, up], 2n wide. The twin is swiglu in cpp/loops.cpp.
#include "common.cuh"

namespace {
// A thread's pack of a matrix of rows of n.
template <class T>
struct Place {
  i64 row, first;
  __device__ explicit Place(i64 n) {
    u32 per_row = static_cast<u32>((n + Pack<T>::N - 1) / Pack<T>::N), pack = blockIdx.x * blockDim.x + threadIdx.x;
    row = pack / per_row;
    first = static_cast<i64>(pack % per_row) * Pack<T>::N;
  }
};

template <class T, bool ALIGNED>
__device__ void swiglu(const T* both, T* act, i64 rows, i64 n) {
  Place<T> place(n);
  if (place.row >= rows) return;
  auto gate = load<T, ALIGNED>(both + place.row * 2 * n, place.first, n);
  auto up = load<T, ALIGNED>(both + place.row * 2 * n + n, place.first, n);
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) {
    float g = wide(gate.of[i]);
    narrow(g * sigmoid(g) * wide(up.of[i]), gate.of[i]);
  }
  store<T, ALIGNED>(act + place.row * n, gate, place.first, n);
}

// The gradient of `both`, and `act` again.
template <class T, bool ALIGNED>
__device__ void swiglu_back(const T* both, const T* dact, T* dboth, T* act, i64 rows, i64 n) {
  Place<T> place(n);
  if (place.row >= rows) return;
  auto gate = load<T, ALIGNED>(both + place.row * 2 * n, place.first, n);
  auto up = load<T, ALIGNED>(both + place.row * 2 * n + n, place.first, n);
  auto d = load<T, ALIGNED>(dact + place.row * n, place.first, n);
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) {
    float g = wide(gate.of[i]), u = wide(up.of[i]), slope = wide(d.of[i]), share = sigmoid(g), silu = g * share;
    narrow(slope * u * (share + silu * (1 - share)), gate.of[i]);
    narrow(slope * silu, up.of[i]);
    narrow(silu * u, d.of[i]);
  }
  store<T, ALIGNED>(dboth + place.row * 2 * n, gate, place.first, n);
  store<T, ALIGNED>(dboth + place.row * 2 * n + n, up, place.first, n);
  store<T, ALIGNED>(act + place.row * n, d, place.first, n);
}
}  // namespace

#define SWIGLU(ending, T, ALIGNED)                                                                             \
  extern "C" __global__ void swiglu_##ending(const T* both, T* act, i64 rows, i64 n) {                         \
    swiglu<T, ALIGNED>(both, act, rows, n);                                                                    \
  }                                                                                                            \
  extern "C" __global__ void swiglu_back_##ending(const T* both, const T* dact, T* dboth, T* act, i64 rows, i64 n) { \
    swiglu_back<T, ALIGNED>(both, dact, dboth, act, rows, n);                                                  \
  }
FOR_FORMATS(SWIGLU)
