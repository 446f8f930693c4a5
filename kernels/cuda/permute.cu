// Tokens to the rows of their experts, and back. Choices [t · k] are counted and placed stably: rows lie by expert, within an
// expert by token. The twins are a stable sort (src/fused/permute.rs) and combine in cpp/loops.cpp.
#include "common.cuh"

namespace {
constexpr i64 CHUNK = 512;  // choices that one warp counts and places
constexpr int AT_ONCE = 8;  // counts that a thread asks memory for before it waits

template <class T>
__device__ inline void add(float (&sums)[Pack<T>::N], const Pack<T>& pack, float weight) {
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) sums[i] += weight * wide(pack.of[i]);
}

template <class T>
__device__ inline Pack<T> narrowed(const float (&sums)[Pack<T>::N]) {
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) narrow(sums[i], pack.of[i]);
  return pack;
}

// Rows of one token, up to FEW at a time: their addresses stay in registers, and all reads are under way together.
constexpr int FEW = 8;

// rows[place[t, j]] = x[t]: a block reads a token once for every FEW rows.
template <class T, bool ALIGNED>
__device__ void spread(const T* x, const i64* place, T* rows, i64 k, i64 n) {
  x += blockIdx.x * n;
  place += blockIdx.x * k;
  for (i64 from = 0; from < k; from += FEW) {
    T* to[FEW];
#pragma unroll
    for (int j = 0; j < FEW; j++) to[j] = from + j < k ? rows + place[from + j] * n : nullptr;
    for (i64 first = threadIdx.x * Pack<T>::N; first < n; first += blockDim.x * Pack<T>::N) {
      auto pack = load<T, ALIGNED>(x, first, n);
#pragma unroll
      for (int j = 0; j < FEW; j++) {
        if (to[j]) store<T, ALIGNED>(to[j], pack, first, n);
      }
    }
  }
}

// Adds Σ_j weight(j) · rows[place[j]], of elements `first`…, in the order of j.
template <class T, bool ALIGNED, class Weight>
__device__ inline void add_rows(float (&sums)[Pack<T>::N], const T* rows, const i64* place, i64 k, i64 first, i64 n,
                                Weight weight) {
  for (i64 from = 0; from < k; from += FEW) {
    Pack<T> packs[FEW];
#pragma unroll
    for (int j = 0; j < FEW; j++) {
      bool is_row = from + j < k;
      packs[j] = load<T, ALIGNED>(rows + (is_row ? place[from + j] * n : 0), first, is_row ? n : 0);
    }
#pragma unroll
    for (int j = 0; j < FEW; j++) {
      if (from + j < k) add(sums, packs[j], weight(from + j));
    }
  }
}

// x[t] = Σ_j rows[place[t, j]].
template <class T, bool ALIGNED>
__device__ void gather(const T* rows, const i64* place, T* x, i64 k, i64 n) {
  x += blockIdx.x * n;
  place += blockIdx.x * k;
  for (i64 first = threadIdx.x * Pack<T>::N; first < n; first += blockDim.x * Pack<T>::N) {
    float sums[Pack<T>::N] = {};
    add_rows<T, ALIGNED>(sums, rows, place, k, first, n, [](i64) { return 1.0f; });
    store<T, ALIGNED>(x, narrowed<T>(sums), first, n);
  }
}

// out[t] = h[t] + Σ_j weight[t, j] · rows[place[t, j]].
template <class T, bool ALIGNED>
__device__ void combine(const T* h, const T* rows, const i64* place, const float* weight, T* out, i64 k, i64 n) {
  h += blockIdx.x * n;
  out += blockIdx.x * n;
  place += blockIdx.x * k;
  weight += blockIdx.x * k;
  for (i64 first = threadIdx.x * Pack<T>::N; first < n; first += blockDim.x * Pack<T>::N) {
    float sums[Pack<T>::N] = {};
    auto own = load<T, ALIGNED>(h, first, n);
    add_rows<T, ALIGNED>(sums, rows, place, k, first, n, [&](i64 j) { return weight[j]; });
    add(sums, own, 1);
    store<T, ALIGNED>(out, narrowed<T>(sums), first, n);
  }
}

// drows[place[t, j]] = dout[t] · weight[t, j] and dweight[t, j] = dout[t] · rows[place[t, j]], a block for each (t, j).
template <class T, bool ALIGNED>
__device__ void combine_back(const T* dout, const T* rows, const i64* place, const float* weight, T* drows,
                             float* dweight, i64 k, i64 n) {
  dout += blockIdx.x / k * n;
  rows += place[blockIdx.x] * n;
  drows += place[blockIdx.x] * n;
  float by = weight[blockIdx.x], sum = 0;
  for (i64 first = threadIdx.x * Pack<T>::N; first < n; first += blockDim.x * Pack<T>::N) {
    auto d = load<T, ALIGNED>(dout, first, n), row = load<T, ALIGNED>(rows, first, n);
    float scaled[Pack<T>::N] = {};
    add(scaled, d, by);
    store<T, ALIGNED>(drows, narrowed<T>(scaled), first, n);
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) sum += wide(d.of[i]) * wide(row.of[i]);
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) dweight[blockIdx.x] = sum;
}
}  // namespace

// How often each of e experts occurs among a block's choices; a block is one warp. counts [blocks, e].
extern "C" __global__ void count_choices(const i64* experts, u32* counts, i64 choices, int e) {
  DYNAMIC_SHARED(u32, mine);
  for (int i = threadIdx.x; i < e; i += 32) mine[i] = 0;
  __syncwarp();
  i64 first = blockIdx.x * CHUNK, last = min(choices, first + CHUNK);
  for (i64 i = first + threadIdx.x; i < last; i += 32) atomicAdd(&mine[experts[i]], 1u);
  __syncwarp();
  for (int i = threadIdx.x; i < e; i += 32) counts[static_cast<i64>(blockIdx.x) * e + i] = mine[i];
}

// counts [blocks, e] → starts [blocks, e], where each block's first choice of each expert stands among all rows; totals [e].
// One block, a thread for each expert.
extern "C" __global__ void start_choices(const u32* counts, u32* starts, i64* totals, i64 blocks, int e) {
  __shared__ u32 sums[1024];
  u32 expert = threadIdx.x, total = 0;
  bool is_expert = expert < static_cast<u32>(e);
  for (i64 first = 0; is_expert && first < blocks; first += AT_ONCE) {
    u32 some[AT_ONCE];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) some[i] = first + i < blocks ? counts[(first + i) * e + expert] : 0;
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) total += some[i];
  }
  sums[expert] = total;
  __syncthreads();
  for (u32 apart = 1; apart < blockDim.x; apart *= 2) {
    u32 before = expert >= apart ? sums[expert - apart] : 0;
    __syncthreads();
    sums[expert] += before;
    __syncthreads();
  }
  u32 start = sums[expert] - total;
  if (is_expert) totals[expert] = total;
  for (i64 first = 0; is_expert && first < blocks; first += AT_ONCE) {
    u32 some[AT_ONCE];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) some[i] = first + i < blocks ? counts[(first + i) * e + expert] : 0;
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      if (first + i < blocks) starts[(first + i) * e + expert] = start;
      start += some[i];
    }
  }
}

// place [choices]: the row of every choice. Lanes with the same expert stand in the order of the lanes.
extern "C" __global__ void place_choices(const i64* experts, const u32* starts, i64* place, i64 choices, int e) {
  DYNAMIC_SHARED(u32, next);
  for (int i = threadIdx.x; i < e; i += 32) next[i] = starts[static_cast<i64>(blockIdx.x) * e + i];
  __syncwarp();
  u32 lower = (1u << threadIdx.x) - 1;
  i64 first = blockIdx.x * CHUNK, last = min(choices, first + CHUNK);
  for (i64 group = first; group < last; group += 32) {
    i64 i = group + threadIdx.x;
    int expert = i < last ? static_cast<int>(experts[i]) : e;
    u32 same = __match_any_sync(ALL_LANES, expert);
    if (i < last) place[i] = next[expert] + __popc(same & lower);
    __syncwarp();
    if (i < last && (same & lower) == 0) next[expert] += __popc(same);
    __syncwarp();
  }
}

#define PERMUTE(ending, T, ALIGNED)                                                                                   \
  extern "C" __global__ void spread_##ending(const T* x, const i64* place, T* rows, i64 k, i64 n) {                  \
    spread<T, ALIGNED>(x, place, rows, k, n);                                                                         \
  }                                                                                                                   \
  extern "C" __global__ void gather_##ending(const T* rows, const i64* place, T* x, i64 k, i64 n) {                  \
    gather<T, ALIGNED>(rows, place, x, k, n);                                                                         \
  }                                                                                                                   \
  extern "C" __global__ void combine_##ending(const T* h, const T* rows, const i64* place, const float* weight,      \
                                              T* out, i64 k, i64 n) {                                                 \
    combine<T, ALIGNED>(h, rows, place, weight, out, k, n);                                                           \
  }                                                                                                                   \
  extern "C" __global__ void combine_back_##ending(const T* dout, const T* rows, const i64* place,                   \
                                                   const float* weight, T* drows, float* dweight, i64 k, i64 n) {     \
    combine_back<T, ALIGNED>(dout, rows, place, weight, drows, dweight, k, n);                                        \
  }
FOR_FORMATS(PERMUTE)
