// CUDA's words for the CPU, so that the kernels' sources run without a card, for tests: one block after the other, each of its
// threads a fiber that runs until it waits for others. Stricter than a card: all lanes of a warp take part in what warps do,
// and a thread that waits for one that has left is an error, told as such.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
// Blocks run in turn on one thread of the processor, so one copy is enough; what a block leaves, the next one finds.
#define __shared__ static thread_local
#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(emulated::block->shared.data())

struct Index {
  unsigned x = 0;
};
inline thread_local Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
// Threads that wait for each other.
struct Barrier {
  unsigned expected = 0, arrived = 0, passed = 0;
};

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(1 << 16);
  bool is_done = false;
};

struct Block {
  std::vector<char> shared;
  std::vector<Fiber> fibers;
  std::vector<Barrier> warps;
  Barrier all;
  // What the lanes of a warp show each other.
  std::vector<uint64_t> shown;
  ucontext_t scheduler;
  std::function<void()> body;
  bool has_moved = false;
  uint32_t chance;

  Block(unsigned threads, size_t shared_bytes, uint32_t seed)
      // Garbage, as on a card.
      : shared(shared_bytes, '\x7f'), fibers(threads), warps((threads + 31) / 32), shown(threads), chance(seed) {}

  void wait(Barrier& barrier) {
    unsigned round = barrier.passed;
    if (++barrier.arrived == barrier.expected) {
      barrier.arrived = 0;
      barrier.passed++;
      has_moved = true;
    }
    while (barrier.passed == round) swapcontext(&fibers[threadIdx.x].context, &scheduler);
  }

  // Threads take turns in an order of chance, another one each round, so that a missing barrier shows.
  void run() {
    unsigned n = fibers.size();
    all = {n};
    for (unsigned warp = 0; warp < warps.size(); warp++) warps[warp] = {std::min(32U, n - warp * 32)};
    for (auto& fiber : fibers) {
      fiber.is_done = false;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.data();
      fiber.context.uc_stack.ss_size = fiber.stack.size();
      fiber.context.uc_link = &scheduler;
      makecontext(&fiber.context, &Block::enter, 0);
    }
    std::vector<unsigned> order(n);
    std::iota(order.begin(), order.end(), 0);
    for (unsigned left = n; left > 0;) {
      has_moved = false;
      for (unsigned i = n; i > 1; i--) std::swap(order[i - 1], order[next() % i]);
      for (unsigned thread : order) {
        if (fibers[thread].is_done) continue;
        threadIdx.x = thread;
        swapcontext(&scheduler, &fibers[thread].context);
        left -= fibers[thread].is_done;
      }
      if (left > 0 && !has_moved) throw std::runtime_error("threads wait at a barrier that others never reach");
    }
  }

  static void enter();
  uint32_t next() { return (chance = chance * 1664525 + 1013904223) >> 8; }
};

inline thread_local Block* block = nullptr;

inline void Block::enter() {
  block->body();
  block->fibers[threadIdx.x].is_done = true;
  block->has_moved = true;
}

// Shows the warp a value and takes something from what all lanes show: `take(values of the lanes, their number)`.
template <class T, class F>
auto among_lanes(T value, F take) {
  unsigned thread = threadIdx.x, first = thread / 32 * 32;
  auto& warp = block->warps[thread / 32];
  std::memcpy(&block->shown[thread], &value, sizeof(T));
  block->wait(warp);
  auto lane = [&](unsigned i) {
    T seen;
    std::memcpy(&seen, &block->shown.at(first + i), sizeof(T));
    return seen;
  };
  auto taken = take(lane, warp.expected);
  block->wait(warp);
  return taken;
}
}  // namespace emulated

struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
using std::fmaf;
using std::max;
using std::min;

inline void __syncthreads() { emulated::block->wait(emulated::block->all); }
inline void __syncwarp() { emulated::block->wait(emulated::block->warps[threadIdx.x / 32]); }

template <class T>
T __shfl_xor_sync(uint32_t, T value, int apart) {
  return emulated::among_lanes(value, [&](auto lane, unsigned) { return lane((threadIdx.x % 32) ^ apart); });
}
template <class T>
uint32_t __match_any_sync(uint32_t, T value) {
  return emulated::among_lanes(value, [&](auto lane, unsigned n) {
    uint32_t same = 0;
    for (unsigned i = 0; i < n; i++) same |= static_cast<uint32_t>(lane(i) == value) << i;
    return same;
  });
}
template <class T>
T atomicMax(T* greatest, T other) {
  T before = *greatest;
  *greatest = std::max(before, other);
  return before;
}
template <class T>
T atomicAdd(T* sum, T more) {
  T before = *sum;
  *sum += more;
  return before;
}
