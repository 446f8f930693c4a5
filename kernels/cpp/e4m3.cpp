// E4M3 codes on the CPU, as plain C. Every function returns 0, or 1 with a sentence in `error`; no exception leaves.
// Callers hold dense matrices.
#include "e4m3_loops.h"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "guarded.h"

namespace {
using ds::ALONG;
using ds::guarded;

const ds::E4m3Loops& loops() {
#ifdef __x86_64__
  static const ds::E4m3Loops* const best =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl")
          ? &ds::E4M3_AVX512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &ds::E4M3_AVX2
                                                                        : &ds::E4M3_BASE;
  return *best;
#else
  return ds::E4M3_BASE;
#endif
}

// How a matrix [m, k] is cut: bands of `height` rows, in which columns or tiles of ALONG columns share a scale.
struct Cut {
  int64_t m, k, height;
  ds::Sharing sharing;

  Cut(const at::Tensor& x, int64_t height, bool tiles)
      : m(x.size(0)), k(x.size(1)), height(height), sharing(tiles ? ds::TILE : ds::COLUMN) {}
  int64_t bands() const { return (m + height - 1) / height; }
  int64_t scales() const { return sharing == ds::TILE ? (k + ALONG - 1) / ALONG : k; }

  // Calls `work(band, first row, rows, buffer of k floats)` for every band.
  template <typename F>
  void each(F work) const {
    int64_t at_once = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, height * k));
    at::parallel_for(0, bands(), at_once, [&](int64_t begin, int64_t end) {
      std::vector<float> spread(k);
      for (int64_t band = begin; band < end; band++) {
        int64_t first = band * height;
        work(band, first, std::min(height, m - first), spread.data());
      }
    });
  }
};
}  // namespace

extern "C" {
// Codes (bytes) and numbers [m, k], and a scale for every band and column or tile of `x`, which is FP32 or BF16.
int ds_e4m3_quantise(at::Tensor* x, int64_t height, int tiles, int power_of_two, double least,
                     at::Tensor** codes, at::Tensor** numbers, at::Tensor** scales, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    Cut cut(*x, height, tiles != 0);
    auto code = at::empty({cut.m, cut.k}, x->options().dtype(at::kByte));
    auto number = at::empty({cut.m, cut.k}, x->options().dtype(at::kFloat));
    auto scale = at::empty({cut.bands(), cut.scales()}, number.options());
    auto to_codes = code.data_ptr<uint8_t>();
    auto to_numbers = number.data_ptr<float>(), to_scales = scale.data_ptr<float>();
    bool is_bf16 = x->scalar_type() == at::kBFloat16;
    auto from = x->const_data_ptr();
    auto floor = static_cast<float>(least);
    cut.each([&](int64_t band, int64_t first, int64_t rows, float* spread) {
      int64_t place = first * cut.k;
      auto c = to_codes + place;
      auto n = to_numbers + place, s = to_scales + band * cut.scales();
      if (is_bf16) {
        auto band_of_x = static_cast<const uint16_t*>(from) + place;
        loops().quantise_bf16(band_of_x, rows, cut.k, cut.sharing, power_of_two != 0, floor, c, n, s, spread);
      } else {
        auto band_of_x = static_cast<const float*>(from) + place;
        loops().quantise_f32(band_of_x, rows, cut.k, cut.sharing, power_of_two != 0, floor, c, n, s, spread);
      }
    });
    *codes = new at::Tensor(code);
    *numbers = new at::Tensor(number);
    *scales = new at::Tensor(scale);
  });
}

// Numbers [m, k] of codes (one byte each), whose scales are those of such a cut.
int ds_e4m3_dequantise(at::Tensor* codes, at::Tensor* scales, int64_t height, int tiles, at::Tensor** numbers,
                       char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    Cut cut(*codes, height, tiles != 0);
    auto number = at::empty({cut.m, cut.k}, scales->options());
    auto from = static_cast<const uint8_t*>(codes->const_data_ptr());
    auto scale = scales->const_data_ptr<float>();
    auto to = number.data_ptr<float>();
    cut.each([&](int64_t band, int64_t first, int64_t rows, float* spread) {
      int64_t place = first * cut.k;
      loops().dequantise(from + place, rows, cut.k, cut.sharing, scale + band * cut.scales(), to + place, spread);
    });
    *numbers = new at::Tensor(number);
  });
}
}
