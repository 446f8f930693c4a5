// Loops that make E4M3 codes of numbers and numbers of codes. Compiled once for every level of instructions, so nothing
// here may include LibTorch's headers: their inline functions would be compiled for the highest level too.
#pragma once
#include <cstdint>

namespace ds {
// Columns that share a scale, and rows of a band.
constexpr int64_t ALONG = 128;

// What elements of a band of rows share a scale.
enum Sharing { COLUMN = 0, TILE = 1 };

struct E4m3Loops {
  // Codes and their numbers (code · scale) of a band of rows that are k wide. One scale for each column, or for each
  // ALONG columns: max(greatest, least) / 448, or the next power of two. `spread` holds k floats and is filled with the
  // scale of each column.
  void (*quantise_f32)(const float* x, int64_t rows, int64_t k, Sharing sharing, bool power_of_two, float least,
                       uint8_t* codes, float* numbers, float* scales, float* spread);
  void (*quantise_bf16)(const uint16_t* x, int64_t rows, int64_t k, Sharing sharing, bool power_of_two, float least,
                        uint8_t* codes, float* numbers, float* scales, float* spread);
  // Code · scale of a band, likewise.
  void (*dequantise)(const uint8_t* codes, int64_t rows, int64_t k, Sharing sharing, const float* scales,
                     float* numbers, float* spread);
};

extern const E4m3Loops E4M3_BASE;
#ifdef __x86_64__
extern const E4m3Loops E4M3_AVX2;
extern const E4m3Loops E4M3_AVX512;
#endif
}  // namespace ds
