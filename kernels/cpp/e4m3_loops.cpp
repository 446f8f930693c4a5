// See e4m3_loops.h. E4M3_LEVEL is the name of the table that this compilation makes.
#include "e4m3_loops.h"

#include <cstring>

namespace {
using ds::ALONG;
using ds::Sharing;

inline int32_t bits_of(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float of_bits(int32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float wide(float x) { return x; }
inline float wide(uint16_t bf16) { return of_bits(static_cast<int32_t>(static_cast<uint32_t>(bf16) << 16)); }

constexpr int32_t MAGNITUDE = 0x7fffffff;
constexpr int32_t NOT_A_NUMBER = 0x7fc00000;
constexpr int32_t GREATEST = 0x43e00000;          // 448
constexpr int32_t BEYOND = 0x44000000;            // 512: nothing that a scale leads to reaches it
constexpr int32_t SMALLEST_NORMAL = 0x3c800000;   // 2⁻⁶
constexpr int32_t BIAS = 120 << 3;                // between the exponents of a single and of E4M3, above 3 bits of fraction
constexpr float SUBNORMAL_ULPS = 24576.0F;        // a single of this size has steps of 2⁻⁹, as subnormal E4M3 has

// Rounds to the nearest E4M3 number, of two equally near to the even one; more than 448 becomes NaN.
inline void encode(float v, float scale, uint8_t* code, float* number) {
  int32_t bits = bits_of(v), magnitude = bits & MAGNITUDE;
  int32_t bounded = magnitude < BEYOND ? magnitude : BEYOND;
  int32_t normal = (bounded + 0x7ffff + ((bounded >> 20) & 1)) & ~0xfffff;
  float small = (of_bits(bounded) + SUBNORMAL_ULPS) - SUBNORMAL_ULPS;
  bool is_small = bounded < SMALLEST_NORMAL;
  int32_t rounded = is_small ? bits_of(small) : normal;
  int32_t magnitude_code = is_small ? static_cast<int32_t>(small * 512.0F) : (normal >> 20) - BIAS;
  bool is_nan = rounded > GREATEST;
  rounded = is_nan ? NOT_A_NUMBER : rounded;
  magnitude_code = is_nan ? 0x7f : magnitude_code;
  *code = static_cast<uint8_t>(magnitude_code | ((bits >> 24) & 0x80));
  *number = of_bits(rounded | (bits & ~MAGNITUDE)) * scale;
}

// The scale of every column, from the greatest magnitudes of columns or tiles.
inline void spread_scales(const float* scales, int64_t k, Sharing sharing, float* spread) {
  if (sharing == ds::COLUMN) {
    std::memcpy(spread, scales, static_cast<size_t>(k) * 4);
    return;
  }
  for (int64_t first = 0; first < k; first += ALONG) {
    int64_t last = first + ALONG < k ? first + ALONG : k;
    float scale = scales[first / ALONG];
    for (int64_t i = first; i < last; i++) spread[i] = scale;
  }
}

inline float scale_of(int32_t greatest_bits, bool power_of_two, float least) {
  float greatest = of_bits(greatest_bits);
  float exact = (greatest < least ? least : greatest) / 448.0F;
  return power_of_two ? of_bits((bits_of(exact) + 0x7fffff) & ~0x7fffff) : exact;
}

template <typename T>
void quantise(const T* x, int64_t rows, int64_t k, Sharing sharing, bool power_of_two, float least, uint8_t* codes,
              float* numbers, float* scales, float* spread) {
  // As integers the magnitudes of singles have their order, and NaN is the greatest.
  for (int64_t i = 0; i < k; i++) spread[i] = 0.0F;
  for (int64_t row = 0; row < rows; row++) {
    const T* from = x + row * k;
#pragma omp simd
    for (int64_t i = 0; i < k; i++) {
      int32_t magnitude = bits_of(wide(from[i])) & MAGNITUDE, greatest = bits_of(spread[i]);
      spread[i] = of_bits(magnitude > greatest ? magnitude : greatest);
    }
  }
  if (sharing == ds::COLUMN) {
    for (int64_t i = 0; i < k; i++) scales[i] = scale_of(bits_of(spread[i]), power_of_two, least);
  } else {
    for (int64_t first = 0; first < k; first += ALONG) {
      int64_t last = first + ALONG < k ? first + ALONG : k;
      int32_t greatest = 0;
#pragma omp simd reduction(max : greatest)
      for (int64_t i = first; i < last; i++) {
        int32_t of_column = bits_of(spread[i]);
        greatest = of_column > greatest ? of_column : greatest;
      }
      scales[first / ALONG] = scale_of(greatest, power_of_two, least);
    }
  }
  spread_scales(scales, k, sharing, spread);
  for (int64_t row = 0; row < rows; row++) {
    const T* from = x + row * k;
    uint8_t* code = codes + row * k;
    float* number = numbers + row * k;
#pragma omp simd
    for (int64_t i = 0; i < k; i++) encode(wide(from[i]) / spread[i], spread[i], code + i, number + i);
  }
}

void dequantise(const uint8_t* codes, int64_t rows, int64_t k, Sharing sharing, const float* scales, float* numbers,
                float* spread) {
  spread_scales(scales, k, sharing, spread);
  for (int64_t row = 0; row < rows; row++) {
    const uint8_t* code = codes + row * k;
    float* number = numbers + row * k;
#pragma omp simd
    for (int64_t i = 0; i < k; i++) {
      int32_t magnitude = code[i] & 0x7f, sign = (code[i] & 0x80) << 24;
      int32_t normal = (magnitude + BIAS) << 20;
      int32_t small = bits_of(static_cast<float>(magnitude) * (1.0F / 512.0F));
      int32_t bits = magnitude < 8 ? small : normal;
      bits = magnitude == 0x7f ? NOT_A_NUMBER : bits;
      number[i] = of_bits(bits | sign) * spread[i];
    }
  }
}
}  // namespace

const ds::E4m3Loops ds::E4M3_LEVEL = {quantise<float>, quantise<uint16_t>, dequantise};
