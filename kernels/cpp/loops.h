// Loops over rows that LibTorch would make several passes of. Compiled once for every level of instructions, so nothing
// here may include LibTorch's headers: their inline functions would be compiled for the highest level too.
#pragma once
#include <cstdint>

namespace ds {
// A number format by its place in a table of loops.
enum Format { F32 = 0, F64 = 1, BF16 = 2, FORMATS = 3 };

// All matrices are dense and row after row. `rows` is [first, last).
struct Loops {
  // y = x / √(mean x² + ε) · w over rows of n; `scale` [rows] keeps 1 / √(…), in FP32 (FP64 for f64).
  void (*rms_norm)(const void* x, const void* w, void* y, void* scale, int64_t first, int64_t last, int64_t n,
                   double eps);
  // Gradient of x, and the share of these rows in that of w, `dw` [n], in the format of `scale`; it is added to.
  void (*rms_norm_back)(const void* dy, const void* x, const void* w, const void* scale, void* dx, void* dw,
                        int64_t first, int64_t last, int64_t n);
  // silu(gate) · up; rows of `both` are [gate, up], 2n wide.
  void (*swiglu)(const void* both, void* act, int64_t first, int64_t last, int64_t n);
  // Gradient of `both`, and `act` again.
  void (*swiglu_back)(const void* both, const void* dact, void* dboth, void* act, int64_t first, int64_t last,
                      int64_t n);
  // out[t] = h[t] + Σ_j weight[t, j] · back[place[t, j]]; weights in the format of sums.
  void (*combine)(const void* h, const void* back, const int64_t* place, const void* weight, void* out, int64_t first,
                  int64_t last, int64_t k, int64_t n);
  // Gradients of `back` and of the weights for tokens [first, last).
  void (*combine_back)(const void* dout, const void* back, const int64_t* place, const void* weight, void* dback,
                       void* dweight, int64_t first, int64_t last, int64_t k, int64_t n);
};

extern const Loops BASE[FORMATS];
#ifdef __x86_64__
extern const Loops AVX2[FORMATS];
extern const Loops AVX512[FORMATS];
#endif
}  // namespace ds
