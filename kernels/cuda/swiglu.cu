// silu(gate) · up and its way back; rows of `both` are [gate, up], 2n wide. The twin is swiglu in cpp/loops.cpp.
#include "common.cuh"

namespace {
constexpr int PACKS = 2;  // packs of a thread, whose reads are under way together

// A thread's packs of a matrix of rows of n.
template <class T>
struct Place {
  i64 row, first;
  __device__ Place(int number, i64 n) {
    u32 per_row = static_cast<u32>((n + Pack<T>::N - 1) / Pack<T>::N);
    u32 pack = (blockIdx.x * PACKS + number) * blockDim.x + threadIdx.x;
    row = pack / per_row;
    first = static_cast<i64>(pack % per_row) * Pack<T>::N;
  }
};

__device__ inline float share_of(float gate, float) { return sigmoid(gate); }
__device__ inline float share_of(float gate, Bf16) { return quick_sigmoid(gate); }

// Gate and up projection of a pack; zeros beyond the last row.
template <class T, bool ALIGNED>
struct Halves {
  Pack<T> gate, up;
  __device__ void read(const T* both, const Place<T>& place, i64 rows, i64 n) {
    i64 width = place.row < rows ? n : 0;
    gate = load<T, ALIGNED>(both + place.row * 2 * n, place.first, width);
    up = load<T, ALIGNED>(both + place.row * 2 * n + n, place.first, width);
  }
};

template <class T, bool ALIGNED>
__device__ void swiglu(const T* both, T* act, i64 rows, i64 n) {
  const Place<T> places[PACKS] = {Place<T>(0, n), Place<T>(1, n)};
  Halves<T, ALIGNED> halves[PACKS];
#pragma unroll
  for (int j = 0; j < PACKS; j++) halves[j].read(both, places[j], rows, n);
#pragma unroll
  for (int j = 0; j < PACKS; j++) {
    auto& [gate, up] = halves[j];
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) {
      float g = wide(gate.of[i]);
      narrow(g * share_of(g, T()) * wide(up.of[i]), gate.of[i]);
    }
    if (places[j].row < rows) store<T, ALIGNED>(act + places[j].row * n, gate, places[j].first, n);
  }
}

// The gradient of `both`, and `act` again.
template <class T, bool ALIGNED>
__device__ void swiglu_back(const T* both, const T* dact, T* dboth, T* act, i64 rows, i64 n) {
  const Place<T> places[PACKS] = {Place<T>(0, n), Place<T>(1, n)};
  Halves<T, ALIGNED> halves[PACKS];
  Pack<T> slopes[PACKS];
#pragma unroll
  for (int j = 0; j < PACKS; j++) {
    halves[j].read(both, places[j], rows, n);
    slopes[j] = load<T, ALIGNED>(dact + places[j].row * n, places[j].first, places[j].row < rows ? n : 0);
  }
#pragma unroll
  for (int j = 0; j < PACKS; j++) {
    auto& [gate, up] = halves[j];
    auto& d = slopes[j];
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) {
      float g = wide(gate.of[i]), u = wide(up.of[i]), slope = wide(d.of[i]), share = share_of(g, T()), silu = g * share;
      narrow(slope * u * (share + silu * (1 - share)), gate.of[i]);
      narrow(slope * silu, up.of[i]);
      narrow(silu * u, d.of[i]);
    }
    if (places[j].row >= rows) return;
    i64 row = places[j].row, first = places[j].first;
    store<T, ALIGNED>(dboth + row * 2 * n, gate, first, n);
    store<T, ALIGNED>(dboth + row * 2 * n + n, up, first, n);
    store<T, ALIGNED>(act + row * n, d, first, n);
  }
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
