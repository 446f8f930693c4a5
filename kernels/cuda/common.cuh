// What the kernels share: number formats as their bits, vectors of 16 bytes, sums over a block. Includes nothing, so that
// NVRTC needs no header of CUDA; on the CPU the emulator (cpp/emulator.h) comes first.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

// Shared memory whose size the launch gives.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(T, name) extern __shared__ T name[]
#endif

constexpr u32 ALL_LANES = 0xffffffff;
constexpr u32 INFINITE = 0x7f800000;  // an FP32 number's bits, as those of the next two
constexpr u32 MAGNITUDE = 0x7fffffff;
constexpr u32 QUIET_NAN = 0x7fc00000;

struct Bf16 {
  u16 bits;
};

__device__ inline float wide(float x) { return x; }
__device__ inline float wide(Bf16 x) { return __uint_as_float(static_cast<u32>(x.bits) << 16); }

// Rounded to nearest, ties to even.
__device__ inline void narrow(float x, float& out) { out = x; }
__device__ inline void narrow(float x, Bf16& out) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
#else
  u32 bits = __float_as_uint(x);
  bool is_nan = (bits & MAGNITUDE) > INFINITE;
  out.bits = static_cast<u16>(is_nan ? 0x7fff : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
#endif
}

// The number of an E4M3 code.
__device__ inline float number_of(u8 code) {
#ifdef __CUDA_ARCH__
  u32 halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<u16>(code)));
  float number;
  asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(static_cast<u16>(halves)));
  return number;
#else
  u32 sign = static_cast<u32>(code & 0x80) << 24, magnitude = code & 0x7f;
  if (magnitude == 0x7f) return __uint_as_float(sign | QUIET_NAN);
  // Below 2⁻⁶ codes stand 2⁻⁹ apart.
  float number = magnitude < 8 ? static_cast<float>(magnitude) / 512 : __uint_as_float((magnitude << 20) + (120u << 23));
  return __uint_as_float(__float_as_uint(number) | sign);
#endif
}

// 16 bytes of neighbours.
template <class T>
union Pack {
  static constexpr int N = 16 / sizeof(T);
  uint4 raw;
  T of[N];
};

// What is read once does not take the first cache from what is read again.
__device__ inline uint4 passing(const void* from) {
#ifdef __CUDA_ARCH__
  uint4 raw;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(raw.x), "=r"(raw.y), "=r"(raw.z), "=r"(raw.w)
      : "l"(__cvta_generic_to_global(from)));
  return raw;
#else
  return *static_cast<const uint4*>(from);
#endif
}

// Elements `first`… of a row of n, zeros beyond its end. ALIGNED: all rows start at 16 bytes and hold whole packs. AGAIN: the
// row is read more than once.
template <class T, bool ALIGNED, bool AGAIN = false>
__device__ inline Pack<T> load(const T* row, i64 first, i64 n) {
  Pack<T> pack;
  pack.raw = make_uint4(0, 0, 0, 0);
  if (ALIGNED) {
    if (first < n) pack.raw = AGAIN ? *reinterpret_cast<const uint4*>(row + first) : passing(row + first);
  } else {
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) {
      if (first + i < n) pack.of[i] = row[first + i];
    }
  }
  return pack;
}

// A row in the registers of its block, as far as they reach: pack i of a thread is number threadIdx.x + i · blockDim.x.
template <class T, bool ALIGNED, int HELD>
struct Row {
  Pack<T> packs[HELD];

  static __device__ i64 first(int i) { return (threadIdx.x + static_cast<i64>(i) * blockDim.x) * Pack<T>::N; }

  // All reads are under way before the first is waited for.
  __device__ void read(const T* row, i64 n) {
#pragma unroll
    for (int i = 0; i < HELD; i++) packs[i] = load<T, ALIGNED>(row, first(i), n);
  }
};

// In PTX since the compiler splits such a store where it does not see the address's alignment.
__device__ inline void put(void* to, uint4 raw) {
#ifdef __CUDA_ARCH__
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(__cvta_generic_to_global(to)), "r"(raw.x), "r"(raw.y), "r"(raw.z), "r"(raw.w)
               : "memory");
#else
  *static_cast<uint4*>(to) = raw;
#endif
}

template <class T, bool ALIGNED>
__device__ inline void store(T* row, const Pack<T>& pack, i64 first, i64 n) {
  if (ALIGNED) {
    if (first < n) put(row + first, pack.raw);
  } else {
#pragma unroll
    for (int i = 0; i < Pack<T>::N; i++) {
      if (first + i < n) row[first + i] = pack.of[i];
    }
  }
}

// The same sum for all threads of a block of whole warps, in the same order on every device.
__device__ inline float sum_of_block(float x) {
  __shared__ float of_warp[32];
  for (int apart = 16; apart > 0; apart /= 2) x += __shfl_xor_sync(ALL_LANES, x, apart);
  __syncthreads();  // all have read the sum before this one
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (u32 warp = 0; warp < blockDim.x / 32; warp++) sum += of_warp[warp];
  return sum;
}

__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
// For a result in BF16 two places less are enough.
__device__ inline float quick_sigmoid(float x) { return __fdividef(1, 1 + __expf(-x)); }

// Every kernel stands in each format, for aligned rows and for any: M(its ending, format, ALIGNED).
#define FOR_FORMATS(M)                                                     \
  M(f32, float, true) M(f32_any, float, false) M(bf16, Bf16, true) M(bf16_any, Bf16, false)
