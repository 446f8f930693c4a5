// Products of E4M3 codes for all experts of a layer at once, by the tensor cores of Hopper cards: sums of 128 columns in the
// tensor cores, scaled and added up in FP32 (arXiv 2412.19437, §3.3.2). The twin is src/fp8/product.rs, expert by expert.
//
// A block makes a square of 128 × 128 of a result; a group of four warps has 64 of its rows. Squares of both factors, whose
// rows are 128 codes, go through shared memory; the 16 bytes c of row r lie at place c ^ (r % 8) there, as the tensor cores
// read them (the 128-byte swizzle of PTX).
#include "common.cuh"

namespace {
constexpr int SIDE = 128;                // of a square
constexpr int SQUARE = SIDE * SIDE;      // bytes
constexpr int STAGES = 6;                // pairs of squares in shared memory
constexpr int AHEAD = STAGES - 2;        // pairs on their way there; of the other two, one is being multiplied and one was
constexpr int SQUARE_THREADS = 256;
constexpr int SUMS = 64;                 // of a thread: 2 rows of 32 columns
constexpr u32 START = 1024;              // squares start at multiples of it

__device__ inline u32 place_of(u32 row, u32 chunk) { return row * SIDE + ((chunk ^ (row % 8)) << 4); }

#ifdef __CUDA_ARCH__
__device__ inline u32 address(const void* shared) { return static_cast<u32>(__cvta_generic_to_shared(shared)); }

__device__ inline void fetch(u8* to, const u8* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(address(to)), "l"(from) : "memory");
}
__device__ inline void end_of_fetches() { asm volatile("cp.async.commit_group;" : : : "memory"); }
// The oldest group of fetches has ended, and the tensor cores may read what it brought.
__device__ inline void wait_for_fetches() {
  asm volatile("cp.async.wait_group %0;\n\tfence.proxy.async.shared::cta;" : : "n"(AHEAD - 1) : "memory");
}

// A square for the tensor cores: rows of 128 bytes, eight of them (1,024 bytes) after each other, swizzled.
__device__ inline u64 described(const u8* square) {
  return (address(square) & 0x3ffff) >> 4 | 1ull << 16 | static_cast<u64>(START >> 4) << 32 | 1ull << 62;
}

#define EIGHT(of, i) "+f"(of[i]), "+f"(of[i + 1]), "+f"(of[i + 2]), "+f"(of[i + 3]), "+f"(of[i + 4]), "+f"(of[i + 5]), \
    "+f"(of[i + 6]), "+f"(of[i + 7])

// sums (+)= 64 rows of a · (128 rows of b)ᵀ over 32 columns.
__device__ inline void multiply_32(float (&sums)[SUMS], u64 a, u64 b, int adds) {
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %66, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1;\n\t}"
      : EIGHT(sums, 0), EIGHT(sums, 8), EIGHT(sums, 16), EIGHT(sums, 24), EIGHT(sums, 32), EIGHT(sums, 40),
        EIGHT(sums, 48), EIGHT(sums, 56)
      : "l"(a), "l"(b), "r"(adds));
}

// Starts the products of one pair of squares, of this thread's rows and columns.
__device__ inline void start(float (&sums)[SUMS], const u8* a, const u8* b) {
  u64 of_a = described(a + threadIdx.x / 128 * (SQUARE / 2)), of_b = described(b);
  asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
#pragma unroll
  for (int step = 0; step < 4; step++) multiply_32(sums, of_a + step * 2, of_b + step * 2, step > 0);
  asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
}

// Waits for `sums`, after which so many other products were started.
template <int LATER>
__device__ inline void wait_for(float (&sums)[SUMS]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(LATER) : "memory");
#pragma unroll
  for (int i = 0; i < SUMS; i++) asm volatile("" : "+f"(sums[i]));
}
#else
inline void fetch(u8* to, const u8* from) { *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from); }
inline void end_of_fetches() {}
inline void wait_for_fetches() {}
template <int LATER>
inline void wait_for(float (&)[SUMS]) {}
inline void start(float (&sums)[SUMS], const u8* a, const u8* b) {
  for (int i = 0; i < SUMS; i++) {
    u32 row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
    sums[i] = 0;
    for (u32 k = 0; k < SIDE; k++) {
      sums[i] += number_of(a[place_of(row, k / 16) + k % 16]) * number_of(b[place_of(column, k / 16) + k % 16]);
    }
  }
}
#endif

// One square of a result: rows of a from `a` on and rows of b from `b` on, of `pitch` codes each, over n pairs of squares.
struct Factors {
  const u8 *a, *b;
  u32 pitch;
  u32 last_a;  // the greatest row that may be read, counted from `a`
  int n;

  // Every thread brings four times 16 bytes of each square.
  __device__ void fetch_pair(u8* stage, int pair) const {
    u32 chunk = threadIdx.x % 8, along = pair * SIDE + chunk * 16;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u32 row = threadIdx.x / 8 + i * 32;
      fetch(stage + place_of(row, chunk), a + (min(row, last_a) * pitch + along));
      fetch(stage + SQUARE + place_of(row, chunk), b + (row * pitch + along));
    }
  }
};

// Adds the sums of a pair to those before, each times its scale. A few at a time, so that not all scales want registers at
// once.
template <class Scales>
__device__ inline void promote(float (&total)[SUMS], const float (&sums)[SUMS], const Scales& scales) {
#pragma unroll
  for (int i = 0; i < SUMS; i++) {
    total[i] = fmaf(sums[i], scales.of(i), total[i]);
#ifdef __CUDA_ARCH__
    if (i % 16 == 15) asm volatile("" : : : "memory");
#endif
  }
}

// A walk over all pairs. The sums of one pair are scaled and added up while the tensor cores have the next.
template <class Scales>
struct Walk {
  const Factors& factors;
  u8* shared;
  Scales scales;

  __device__ void fetch_next(int pair) {
    if (pair < factors.n) factors.fetch_pair(shared + pair % STAGES * 2 * SQUARE, pair);
    end_of_fetches();
  }

  // Starts `pair` in `now`, and ends the one before it, which is in `before`.
  __device__ void step(int pair, float (&total)[SUMS], float (&now)[SUMS], float (&before)[SUMS]) {
    wait_for_fetches();
    // All have brought their part of this pair, and all are done with the last but one, whose place is free now.
    __syncthreads();
    fetch_next(pair + AHEAD);
    const u8* stage = shared + pair % STAGES * 2 * SQUARE;
    start(now, stage, stage + SQUARE);
    if (pair == 0) return;
    scales.read(pair - 1);
    wait_for<1>(before);
    promote(total, before, scales);
  }

  __device__ void end(float (&total)[SUMS], float (&last)[SUMS]) {
    scales.read(factors.n - 1);
    wait_for<0>(last);
    promote(total, last, scales);
  }

  __device__ void go(float (&total)[SUMS]) {
    float even[SUMS], odd[SUMS];
    for (int pair = 0; pair < AHEAD; pair++) fetch_next(pair);
    for (int pair = 0; pair < factors.n; pair += 2) {
      step(pair, total, even, odd);
      if (pair + 1 == factors.n) return end(total, even);
      step(pair + 1, total, odd, even);
    }
    if (factors.n > 0) end(total, odd);
  }
};

// Sum i of a thread belongs to this row and column of the square.
__device__ inline u32 row_of(int i) { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8; }
__device__ inline u32 column_of(int i) { return i / 4 * 8 + threadIdx.x % 4 * 2; }

__device__ inline u8* squares(u8* shared) {
#ifdef __CUDA_ARCH__
  return shared + (START - address(shared) % START) % START;
#else
  return shared;
#endif
}

// Scales of tiles along the rows of a, and of one block of b.
struct OfRows {
  const float *upper, *lower, *block;
  float by[2];
  __device__ void read(int pair) {
    by[0] = upper[pair] * block[pair];
    by[1] = lower[pair] * block[pair];
  }
  __device__ float of(int i) const { return by[i % 4 / 2]; }
};

// Scales of tiles along the rows of both; a pair's lie next to each other.
struct OfBoth {
  const float *a, *b;  // of this thread's first row and column
  u32 width_a, width_b;
  float rows[2];
  const float* columns;
  __device__ void read(int pair) {
    rows[0] = a[pair * width_a];
    rows[1] = a[pair * width_a + 8];
    columns = b + pair * width_b;
  }
  __device__ float of(int i) const { return rows[i % 4 / 2] * columns[i / 4 * 8 + i % 2]; }
};
}  // namespace

// out [r, n] = a [r, k] · (b [e, n, k] of each row's expert)ᵀ. Tiles along rows of a, `a_scales` [r, k/128]; blocks of b,
// `b_scales` [e, n/128, k/128]. spans [., 3]: first row, row after the last, expert, of every 128 rows or less.
extern "C" __global__ void __launch_bounds__(SQUARE_THREADS, 1)
    grouped_rows(const u8* a, const float* a_scales, const u8* b, const float* b_scales, const int* spans, Bf16* out,
                 i64 r, i64 n, i64 k) {
  DYNAMIC_SHARED(u8, shared);
  u32 across = static_cast<u32>(n / SIDE);
  const int* span = spans + blockIdx.x / across * 3;
  i64 first = span[0], end = span[1], expert = span[2], left = static_cast<i64>(blockIdx.x % across) * SIDE;
  i64 n_pairs = k / SIDE;
  u32 last = static_cast<u32>(min(r - 1 - first, static_cast<i64>(SIDE - 1)));
  Factors factors{a + first * k, b + (expert * n + left) * k, static_cast<u32>(k), last, static_cast<int>(n_pairs)};
  i64 upper = first + row_of(0), lower = first + row_of(2);
  OfRows scales{a_scales + min(upper, r - 1) * n_pairs, a_scales + min(lower, r - 1) * n_pairs,
                b_scales + (expert * n + left) / SIDE * n_pairs, {}};
  float total[SUMS] = {};
  Walk<decltype(scales)>{factors, squares(shared), scales}.go(total);
#pragma unroll
  for (int i = 0; i < SUMS; i += 2) {
    i64 row = first + row_of(i);
    Bf16 two[2];
    narrow(total[i], two[0]);
    narrow(total[i + 1], two[1]);
    u32* to = reinterpret_cast<u32*>(out + row * n + left + column_of(i));
    if (row < end) *to = two[0].bits | static_cast<u32>(two[1].bits) << 16;
  }
}

// out [e, m, n] += aᵀ b over the rows of each expert, or = where `fresh`: a [m, r] and b [n, r] turned round, each expert's
// rows filled up to whole 128. Tiles along the rows, scales [r/128, m] and [r/128, n]. Expert i has the 128s from starts[i]
// to starts[i + 1].
extern "C" __global__ void __launch_bounds__(SQUARE_THREADS, 1)
    grouped_weights(const u8* a, const float* a_scales, const u8* b, const float* b_scales, const int* starts, float* out,
                    i64 r, i64 m, i64 n, int fresh) {
  DYNAMIC_SHARED(u8, shared);
  u32 across = static_cast<u32>(n / SIDE), down = static_cast<u32>(m / SIDE), square = blockIdx.x % (across * down);
  i64 expert = blockIdx.x / (across * down), top = static_cast<i64>(square / across) * SIDE;
  i64 left = static_cast<i64>(square % across) * SIDE, start = starts[expert];
  Factors factors{a + top * r + start * SIDE, b + left * r + start * SIDE, static_cast<u32>(r), SIDE - 1,
                  static_cast<int>(starts[expert + 1] - start)};
  OfBoth scales{a_scales + start * m + top + row_of(0), b_scales + start * n + left + column_of(0), static_cast<u32>(m),
                static_cast<u32>(n), {}, nullptr};
  float total[SUMS] = {};
  Walk<decltype(scales)>{factors, squares(shared), scales}.go(total);
  out += expert * m * n;
#pragma unroll
  for (int i = 0; i < SUMS; i += 2) {
    float* to = out + (top + row_of(i)) * n + left + column_of(i);
    to[0] = fresh ? total[i] : to[0] + total[i];
    to[1] = fresh ? total[i + 1] : to[1] + total[i + 1];
  }
}
