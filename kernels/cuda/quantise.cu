// Matrices to E4M3 codes and scales. The twin is src/fp8/quantise.rs: the same bytes.
#include "common.cuh"

namespace {
constexpr int ALONG = 128;                // of a tile or a side of a block
constexpr int THREADS = 256;              // of every block here
constexpr int TILES = 4;                  // of 1 × 128 whose reads a thread has under way together
constexpr u32 FRACTION = (1 << 23) - 1;   // of an FP32 number

// Bits of the greatest magnitude. As integers they are in order, and NaN is greater than all.
template <class T>
__device__ inline u32 greatest_of(const Pack<T>& pack) {
  u32 greatest = 0;
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i++) greatest = max(greatest, __float_as_uint(wide(pack.of[i])) & MAGNITUDE);
  return greatest;
}

// How a scale follows from the greatest magnitude, or from `least` where that is greater.
struct Rule {
  int power_of_two;
  float least;
};

__device__ inline float scale_of(u32 greatest, Rule rule) {
  float scale = __uint_as_float(max(greatest, __float_as_uint(rule.least))) / 448.0f;
  u32 bits = __float_as_uint(scale);
  return rule.power_of_two && bits < INFINITE ? __uint_as_float((bits + FRACTION) & ~FRACTION) : scale;
}

#ifdef __CUDA_ARCH__
__device__ inline u32 two_codes(float low, float high) {
  u16 codes;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  return codes;
}
#else
// What the instruction does: to nearest, ties to even, no more than 448.
inline u32 code(float x) {
  u32 sign = __float_as_uint(x) >> 24 & 0x80, magnitude = __float_as_uint(x) & MAGNITUDE;
  if (magnitude > INFINITE) return 0x7f;
  // Below 2⁻⁶ numbers stand 2⁻⁹ apart, as FP32 numbers do from 2¹⁴ on.
  if (magnitude < 0x3c800000) return sign | (__float_as_uint(__uint_as_float(magnitude) + 16384.0f) - 0x46800000);
  u32 rounded = (magnitude + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
  return sign | min(rounded - (120u << 3), 0x7eu);
}
inline u32 two_codes(float low, float high) { return code(low) | code(high) << 8; }
#endif

// As many codes as a pack has elements, in one word or two.
template <class T>
struct Codes {
  u32 words[Pack<T>::N / 4];
};

// x / scale to the last bit without a division for every element: two steps from x · (1 / scale) reach the number that
// division rounds to (Markstein, IBM J. Res. Dev. 34, 1990), and zeros keep their signs.
struct Divisor {
  float scale, inverse;
  __device__ explicit Divisor(float by) : scale(by), inverse(1 / by) {
    if (__float_as_uint(by) == INFINITE) scale = 0;  // so that finite numbers become zeros, and others NaN
  }
  __device__ float of(float x) const {
    float quotient = x * inverse;
    quotient = fmaf(fmaf(-quotient, scale, x), inverse, quotient);
    quotient = fmaf(fmaf(-quotient, scale, x), inverse, quotient);
    return __uint_as_float((__float_as_uint(quotient) & MAGNITUDE) | (__float_as_uint(x) & ~MAGNITUDE));
  }
};

template <class T>
__device__ inline Codes<T> codes_of(const Pack<T>& pack, const Divisor& scale) {
  Codes<T> codes;
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i += 4) {
    u32 low = two_codes(scale.of(wide(pack.of[i])), scale.of(wide(pack.of[i + 1])));
    u32 high = two_codes(scale.of(wide(pack.of[i + 2])), scale.of(wide(pack.of[i + 3])));
    codes.words[i / 4] = low | high << 16;
  }
  return codes;
}

__device__ inline void put_codes(u8* to, const Codes<float>& codes) { *reinterpret_cast<u32*>(to) = codes.words[0]; }
__device__ inline void put_codes(u8* to, const Codes<Bf16>& codes) {
  *reinterpret_cast<uint2*>(to) = make_uint2(codes.words[0], codes.words[1]);
}

template <class T, bool ALIGNED>
__device__ inline void store_codes(u8* row, const Codes<T>& codes, i64 first, i64 k) {
  if (ALIGNED) {
    if (first < k) put_codes(row + first, codes);
  } else {
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) {
      if (first + i < k) row[first + i] = static_cast<u8>(codes.words[i / 4] >> (i % 4 * 8));
    }
  }
}

// x [m, k] → codes [m, k], scales [m, ⌈k/128⌉]. A tile is a pack of each of 16 or 32 lanes, and these have TILES of them.
template <class T, bool ALIGNED>
__device__ void quantise_tiles(const T* x, u8* codes, float* scales, i64 m, i64 k, Rule rule) {
  constexpr int N = Pack<T>::N, LANES = ALONG / N, AT_ONCE = THREADS / LANES;
  u32 per_row = static_cast<u32>((k + ALONG - 1) / ALONG), own = blockIdx.x * TILES * AT_ONCE + threadIdx.x / LANES;
  Pack<T> packs[TILES];
  u32 rows[TILES];
  i64 firsts[TILES];
#pragma unroll
  for (int j = 0; j < TILES; j++) {
    u32 tile = own + j * AT_ONCE;
    rows[j] = tile / per_row;
    firsts[j] = static_cast<i64>(tile - rows[j] * per_row) * ALONG + threadIdx.x % LANES * N;
    // Lanes without a tile help their warp.
    packs[j] = load<T, ALIGNED>(x + rows[j] * k, firsts[j], rows[j] < m ? k : 0);
  }
#pragma unroll
  for (int j = 0; j < TILES; j++) {
    u32 greatest = greatest_of(packs[j]);
    for (int apart = LANES / 2; apart > 0; apart /= 2) {
      greatest = max(greatest, __shfl_xor_sync(ALL_LANES, greatest, apart));
    }
    if (rows[j] >= m) continue;
    float scale = scale_of(greatest, rule);
    if (threadIdx.x % LANES == 0) scales[own + j * AT_ONCE] = scale;
    store_codes<T, ALIGNED>(codes + rows[j] * k, codes_of(packs[j], Divisor(scale)), firsts[j], k);
  }
}

__device__ inline u32 greatest_of_block(u32 greatest) {
  __shared__ u32 of_warp[THREADS / 32];
  for (int apart = 16; apart > 0; apart /= 2) greatest = max(greatest, __shfl_xor_sync(ALL_LANES, greatest, apart));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = greatest;
  __syncthreads();
  for (int warp = 0; warp < THREADS / 32; warp++) greatest = max(greatest, of_warp[warp]);
  return greatest;
}

// Where a thread's packs lie in a square of 128 × 128: from (top, first) on, every STEP rows.
template <class T>
struct Square {
  static constexpr int LANES = ALONG / Pack<T>::N, STEP = THREADS / LANES, PASSES = ALONG / STEP;
  i64 top, first;
  __device__ explicit Square(i64 k) {
    u32 across = static_cast<u32>((k + ALONG - 1) / ALONG);
    top = static_cast<i64>(blockIdx.x / across) * ALONG + threadIdx.x / LANES;
    first = static_cast<i64>(blockIdx.x % across) * ALONG + threadIdx.x % LANES * Pack<T>::N;
  }
};

// x [m, k] → codes [m, k], scales [⌈m/128⌉, ⌈k/128⌉]. The square waits in registers for its scale.
template <class T, bool ALIGNED>
__device__ void quantise_blocks(const T* x, u8* codes, float* scales, i64 m, i64 k, Rule rule) {
  Square<T> square(k);
  Pack<T> held[Square<T>::PASSES];
  u32 greatest = 0;
#pragma unroll
  for (int pass = 0; pass < Square<T>::PASSES; pass++) {
    i64 row = square.top + pass * Square<T>::STEP;
    held[pass] = load<T, ALIGNED>(x + row * k, square.first, row < m ? k : 0);
    greatest = max(greatest, greatest_of(held[pass]));
  }
  float scale = scale_of(greatest_of_block(greatest), rule);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  Divisor divisor(scale);
#pragma unroll
  for (int pass = 0; pass < Square<T>::PASSES; pass++) {
    i64 row = square.top + pass * Square<T>::STEP;
    store_codes<T, ALIGNED>(codes + row * k, codes_of(held[pass], divisor), square.first, row < m ? k : 0);
  }
}

// Rows of x that are a tile upright: 128 of them, or those that a list has for it (first, row after the last, and a number that
// is of no use here).
struct Rows {
  i64 first, end;
  __device__ Rows(const int* spans, u32 tile, i64 m) {
    first = spans ? spans[tile * 3] : static_cast<i64>(tile) * ALONG;
    end = spans ? spans[tile * 3 + 1] : m;
  }
};

// Where codes of a square lie that is turned round in shared memory: four neighbours of a column are a word. Words of a column
// change places among each other, so that a warp's stores, which are of many columns, meet each bank once.
template <class T>
__device__ inline u32 word_of(u32 column, u32 row) {
  constexpr u32 N = Pack<T>::N;
  return column * (ALONG / 4) + (row / 4 ^ column / N * (N / 4));
}

// x [m, k] → codes [k, width], scales [tiles, k]: tiles of the transpose, whose rows are `width` wide: m, or whole tiles filled
// up with zeros where a list has the tiles.
template <class T, bool ALIGNED>
__device__ void quantise_upright(const T* x, u8* codes, float* scales, i64 m, i64 k, Rule rule, const int* spans,
                                 i64 width) {
  constexpr int N = Pack<T>::N, LANES = ALONG / N, PASSES = Square<T>::PASSES, STEP = THREADS / LANES * 4;
  __shared__ u32 greatest[ALONG];
  __shared__ u32 turned[ALONG * ALONG / 4];
  u32 across = static_cast<u32>((k + ALONG - 1) / ALONG), tile = blockIdx.x / across;
  i64 left = static_cast<i64>(blockIdx.x % across) * ALONG;
  Rows rows(spans, tile, m);
  // Of the square: a pack's first column, and the first of every four rows that follow each other.
  u32 column = threadIdx.x % LANES * N, row = threadIdx.x / LANES * 4;
  Pack<T> held[PASSES];
  u32 mine[N] = {};
  if (threadIdx.x < ALONG) greatest[threadIdx.x] = 0;
#pragma unroll
  for (int pass = 0; pass < PASSES; pass++) {
    i64 from = rows.first + row + pass / 4 * STEP + pass % 4;
    held[pass] = load<T, ALIGNED>(x + from * k, left + column, from < rows.end ? k : 0);
  }
#pragma unroll
  for (int pass = 0; pass < PASSES; pass++) {
#pragma unroll
    for (int i = 0; i < N; i++) mine[i] = max(mine[i], __float_as_uint(wide(held[pass].of[i])) & MAGNITUDE);
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) atomicMax(&greatest[column + i], mine[i]);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) {
    Divisor divisor(scale_of(greatest[column + i], rule));
#pragma unroll
    for (int four = 0; four < PASSES; four += 4) {
      auto value = [&](int pass) { return divisor.of(wide(held[four + pass].of[i])); };
      u32 word = two_codes(value(0), value(1)) | two_codes(value(2), value(3)) << 16;
      turned[word_of<T>(column + i, row + four / 4 * STEP)] = word;
    }
  }
  __syncthreads();
  if (threadIdx.x < ALONG && left + threadIdx.x < k) {
    scales[tile * k + left + threadIdx.x] = scale_of(greatest[threadIdx.x], rule);
  }
  // A warp has a row of the transpose, a lane four codes of it.
  i64 first = static_cast<i64>(tile) * ALONG + threadIdx.x % 32 * 4;
  for (int line = threadIdx.x / 32; line < ALONG && left + line < k; line += THREADS / 32) {
    u32 word = turned[word_of<T>(line, threadIdx.x % 32 * 4)];
    u8* to = codes + (left + line) * width + first;
    if (width % 4 == 0) {
      if (first < width) *reinterpret_cast<u32*>(to) = word;
    } else {
      for (int i = 0; i < 4; i++) {
        if (first + i < width) to[i] = static_cast<u8>(word >> (i * 8));
      }
    }
  }
}
}  // namespace

#define QUANTISE_BY(name, ending, T, ALIGNED)                                                                    \
  extern "C" __global__ void name##_##ending(const T* x, u8* codes, float* scales, i64 m, i64 k, int power_of_two, \
                                             float least) {                                                      \
    name<T, ALIGNED>(x, codes, scales, m, k, Rule{power_of_two, least});                                         \
  }
#define QUANTISE(ending, T, ALIGNED)             \
  QUANTISE_BY(quantise_tiles, ending, T, ALIGNED)  \
  QUANTISE_BY(quantise_blocks, ending, T, ALIGNED) \
  extern "C" __global__ void quantise_upright_##ending(const T* x, u8* codes, float* scales, i64 m, i64 k,      \
                                                       int power_of_two, float least, const int* spans, i64 width) { \
    quantise_upright<T, ALIGNED>(x, codes, scales, m, k, Rule{power_of_two, least}, spans, width);             \
  }
FOR_FORMATS(QUANTISE)

// codes [m, k], scales [m, ⌈k/128⌉] of tiles → their numbers. Rows of whole 16; a thread has so many.
extern "C" __global__ void dequantise_tiles(const u8* codes, const float* scales, float* numbers, i64 m, i64 k) {
  u32 per_row = static_cast<u32>(k / 16), own = blockIdx.x * THREADS + threadIdx.x, row = own / per_row;
  i64 first = static_cast<i64>(own - row * per_row) * 16;
  if (row >= m) return;
  auto pack = load<u8, true>(codes + row * k, first, k);
  float scale = scales[row * ((k + ALONG - 1) / ALONG) + first / ALONG];
#pragma unroll
  for (int part = 0; part < 4; part++) {
    Pack<float> four;
#pragma unroll
    for (int i = 0; i < 4; i++) four.of[i] = number_of(pack.of[part * 4 + i]) * scale;
    store<float, true>(numbers + row * k, four, first + part * 4, k);
  }
}
