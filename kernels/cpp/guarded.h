// How every C function of this folder fails: 1, and a sentence.
#pragma once
#include <cstring>
#include <exception>

namespace ds {
constexpr size_t ERROR_BYTES = 4096;

// Copies `text` as far as it fits.
inline void tell(char* error, const char* text) {
  std::strncpy(error, text, ERROR_BYTES - 1);
  error[ERROR_BYTES - 1] = 0;
}

template <typename F>
int guarded(char* error, F work) {
  try {
    work();
    return 0;
  } catch (const std::exception& e) {
    tell(error, e.what());
  } catch (...) {
    tell(error, "an exception that is not a std::exception");
  }
  return 1;
}
}  // namespace ds
