// The CUDA kernels as functions of the CPU, by name.
#include "emulator.h"

#include <map>
#include <string>
#include <utility>

#include "../cuda/adamw.cu"
#include "../cuda/gate.cu"
#include "../cuda/grouped.cu"
#include "../cuda/permute.cu"
#include "../cuda/quantise.cu"
#include "../cuda/rms_norm.cu"
#include "../cuda/swiglu.cu"
#include "guarded.h"

namespace {
using Kernel = void (*)(void** arguments);

// Takes each argument from where a pointer says it lies, as a launch on a card does.
template <auto KERNEL, class... A, size_t... I>
void call(void (*)(A...), void** arguments, std::index_sequence<I...>) {
  KERNEL(*static_cast<A*>(arguments[I])...);
}
template <auto KERNEL, class... A>
auto by_place(void (*)(A...)) {
  return [](void** arguments) { call<KERNEL>(KERNEL, arguments, std::index_sequence_for<A...>()); };
}

#define ENTRY(name) {#name, by_place<name>(name)}
#define ENTRIES(name) ENTRY(name##_f32), ENTRY(name##_f32_any), ENTRY(name##_bf16), ENTRY(name##_bf16_any)

const std::map<std::string, Kernel> KERNELS = {
    ENTRIES(adamw),
    ENTRIES(quantise_tiles), ENTRIES(quantise_blocks), ENTRIES(quantise_upright),
    ENTRIES(rms_norm),       ENTRIES(rms_norm_back),   ENTRIES(swiglu),
    ENTRIES(swiglu_back),    ENTRIES(spread),          ENTRIES(gather),
    ENTRIES(combine),        ENTRIES(combine_back),    ENTRY(count_choices),
    ENTRY(start_choices),    ENTRY(place_choices),     ENTRY(gate),
    ENTRY(gate_back),        ENTRY(dequantise_tiles),  ENTRY(grouped_rows),
    ENTRY(grouped_weights),
};
}  // namespace

extern "C" int ds_emulate(const char* name, unsigned blocks, unsigned threads, unsigned shared_bytes, void** arguments,
                          uint32_t seed, char* error) {
  return ds::guarded(error, [&] {
    auto kernel = KERNELS.find(name);
    if (kernel == KERNELS.end()) throw std::runtime_error(std::string("no kernel is called ") + name);
    emulated::Block block(threads, shared_bytes, seed);
    emulated::block = &block;
    blockDim = {threads};
    gridDim = {blocks};
    block.body = [&] { kernel->second(arguments); };
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) block.run();
  });
}
