// What tch does not offer, as plain C: backward for chosen inputs, autograd nodes written in Rust, foreach and fused
// operations. Every function returns 0, or 1 with a sentence in `error`; no exception leaves.
#include <ATen/core/ivalue.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>
#include <c10/core/CPUAllocator.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

#include "guarded.h"

namespace {
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;
using Tensors = std::vector<at::Tensor>;

using ds::ERROR_BYTES;
using ds::guarded;

// A null pointer is an undefined tensor.
Tensors list(size_t n, at::Tensor* const* pointers) {
  Tensors tensors(n);
  for (size_t i = 0; i < n; i++) {
    if (pointers[i]) tensors[i] = *pointers[i];
  }
  return tensors;
}

// A new handle that Rust owns; null for an undefined tensor.
at::Tensor* hand_over(const at::Tensor& tensor) { return tensor.defined() ? new at::Tensor(tensor) : nullptr; }

std::vector<at::Tensor*> hand_over(const Tensors& tensors) {
  std::vector<at::Tensor*> handles;
  for (const auto& tensor : tensors) handles.push_back(hand_over(tensor));
  return handles;
}
}  // namespace

extern "C" {
// What Rust gives for an autograd node. Rust owns the tensors that it is passed, and pushes its results (ds_push).
struct DsNode {
  void* object;
  int (*forward)(void* object, at::Tensor** inputs, size_t n, Tensors* outputs, Tensors* saved, char* error);
  int (*backward)(void* object, at::Tensor** saved, size_t n_saved, at::Tensor** gradients, size_t n_gradients,
                  Tensors* results, char* error);
  void (*drop)(void* object);
};

void ds_push(Tensors* list, at::Tensor* tensor) { list->push_back(tensor ? *tensor : at::Tensor()); }

int ds_backward(at::Tensor* const* outputs, at::Tensor* const* gradients, size_t n_outputs, at::Tensor* const* inputs,
                size_t n_inputs, int keep_graph, at::Tensor** results, char* error) {
  return guarded(error, [&] {
    auto found = torch::autograd::grad(list(n_outputs, outputs), list(n_inputs, inputs), list(n_outputs, gradients),
                                       keep_graph != 0, /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < n_inputs; i++) results[i] = hand_over(found[i]);
  });
}

// In place. `steps` are f32 scalars and count this update already.
int ds_fused_adamw(size_t n, at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* moments1,
                   at::Tensor* const* moments2, at::Tensor* const* steps, double learning_rate, double beta1,
                   double beta2, double weight_decay, double eps, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    at::_fused_adamw_(list(n, parameters), list(n, gradients), list(n, moments1), list(n, moments2), {}, list(n, steps),
                      learning_rate, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// One f64 tensor [n] of 2-norms, each accumulated in f64.
int ds_norms(size_t n, at::Tensor* const* tensors, at::Tensor** result, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    *result = hand_over(at::stack(at::_foreach_norm(list(n, tensors), 2, at::kDouble)));
  });
}
}

namespace {
// Lives as long as the graph that refers to it.
struct Object : torch::CustomClassHolder {
  DsNode node;
  explicit Object(DsNode node) : node(node) {}
  Object(const Object&) = delete;
  ~Object() override { node.drop(node.object); }
};
using ObjectPointer = c10::intrusive_ptr<Object>;

struct RustFunction : torch::autograd::Function<RustFunction> {
  static variable_list forward(AutogradContext* context, const ObjectPointer& object, at::TensorList inputs) {
    char error[ERROR_BYTES] = "";
    auto handles = hand_over(inputs.vec());
    Tensors outputs, saved;
    const auto& node = object->node;
    TORCH_CHECK(node.forward(node.object, handles.data(), handles.size(), &outputs, &saved, error) == 0, error);
    context->save_for_backward(std::move(saved));
    context->saved_data["object"] = c10::IValue::make_capsule(object);
    context->saved_data["n_inputs"] = static_cast<int64_t>(inputs.size());
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    char error[ERROR_BYTES] = "";
    auto object = c10::static_intrusive_pointer_cast<Object>(context->saved_data["object"].toCapsule());
    auto saved = hand_over(context->get_saved_variables());
    auto handles = hand_over(gradients);
    Tensors results;
    const auto& node = object->node;
    TORCH_CHECK(node.backward(node.object, saved.data(), saved.size(), handles.data(), handles.size(), &results,
                              error) == 0,
                error);
    auto n_inputs = static_cast<size_t>(context->saved_data["n_inputs"].toInt());
    TORCH_CHECK(results.size() == n_inputs, "backward gave ", results.size(), " gradients for ", n_inputs, " inputs");
    results.insert(results.begin(), at::Tensor());  // the object itself has none
    return results;
  }
};
}  // namespace

extern "C" {
// Takes the node in any case. `outputs` holds as many handles as the node gave, at most `n_outputs_max`.
int ds_apply(DsNode node, at::Tensor* const* inputs, size_t n_inputs, at::Tensor** outputs, size_t n_outputs_max,
             size_t* n_outputs, char* error) {
  return guarded(error, [&] {
    auto object = c10::make_intrusive<Object>(node);
    auto given = list(n_inputs, inputs);
    auto results = RustFunction::apply(object, at::TensorList(given));
    TORCH_CHECK(results.size() <= n_outputs_max, "forward gave ", results.size(), " outputs, at most ", n_outputs_max);
    *n_outputs = results.size();
    for (size_t i = 0; i < results.size(); i++) outputs[i] = hand_over(results[i]);
  });
}
}

namespace {
// LibTorch asks for aligned memory, and what glibc frees of that is too short by some bytes for the next request of the
// same size. This one asks for a little more and aligns by itself, so that every step finds the blocks of the last one.
// What it needs to free a block stands before the block, since some of LibTorch's products pass the bare address on.
struct AligningAllocator final : at::Allocator {
  static constexpr size_t ALIGNMENT = 64;

  at::DataPtr allocate(size_t n_bytes) override {
    if (n_bytes == 0) return {nullptr, nullptr, &end, at::kCPU};
    void* block = std::malloc(n_bytes + ALIGNMENT);
    TORCH_CHECK(block, "the system has no ", n_bytes, " bytes of memory left");
    // Blocks start at 16 bytes, so there is room for an address.
    auto* start = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(block) + ALIGNMENT) & ~(ALIGNMENT - 1));
    start[-1] = block;
    return {start, start, &end, at::kCPU};
  }

  static void end(void* start) {
    if (start) std::free(static_cast<void**>(start)[-1]);
  }

  at::DeleterFnPtr raw_deleter() const override { return &end; }
  void copy_data(void* to, const void* from, size_t n_bytes) const override { default_copy_data(to, from, n_bytes); }
};

// Counts what passes through the allocator below it. Before each block stands what is known of it.
struct CountingAllocator final : at::Allocator {
  at::Allocator* below;
  std::atomic<uint64_t> live{0}, peak{0};
  struct alignas(64) Block {
    CountingAllocator* of;
    at::DataPtr data;
    size_t n_bytes;
  };

  explicit CountingAllocator(at::Allocator* below) : below(below) {}

  at::DataPtr allocate(size_t n_bytes) override {
    if (n_bytes == 0) return {nullptr, nullptr, &end, at::kCPU};
    auto data = below->allocate(sizeof(Block) + n_bytes);
    auto device = data.device();
    void* memory = data.get();
    auto* block = new (memory) Block{this, std::move(data), n_bytes};
    auto now = live.fetch_add(n_bytes) + n_bytes;
    for (auto most = peak.load(); most < now && !peak.compare_exchange_weak(most, now);) {
    }
    return {block + 1, block + 1, &end, device};
  }

  static void end(void* start) {
    if (!start) return;
    auto* block = static_cast<Block*>(start) - 1;
    block->of->live.fetch_sub(block->n_bytes);
    auto data = std::move(block->data);  // freed when all else of the block is done
    block->~Block();
  }

  at::DeleterFnPtr raw_deleter() const override { return &end; }
  void copy_data(void* to, const void* from, size_t n_bytes) const override { default_copy_data(to, from, n_bytes); }
};

CountingAllocator* counting = nullptr;  // never freed: tensors may outlive every owner
std::once_flag counting_once;
}  // namespace

extern "C" {
// The storage stays, empty: graphs that saved the tensor still hold it.
int ds_release(at::Tensor* tensor, char* error) {
  return guarded(error, [&] {
    auto* storage = tensor->storage().unsafeGetStorageImpl();
    storage->set_data_ptr_noswap(at::DataPtr(nullptr, tensor->device()));
    storage->set_nbytes(0);
  });
}

int ds_refill(at::Tensor* tensor, at::Tensor* fresh, char* error) {
  return guarded(error, [&] {
    TORCH_CHECK(tensor->sizes() == fresh->sizes() && tensor->strides() == fresh->strides() &&
                    tensor->storage_offset() == fresh->storage_offset() && tensor->dtype() == fresh->dtype() &&
                    tensor->device() == fresh->device(),
                "a tensor of ", tensor->sizes(), " cannot share the bytes of one of ", fresh->sizes(),
                " that lies otherwise");
    auto* storage = tensor->storage().unsafeGetStorageImpl();
    if (storage->nbytes() != 0) return;
    auto* shared = new at::Storage(fresh->storage());
    storage->set_data_ptr_noswap(at::DataPtr(
        shared->mutable_data(), shared, [](void* context) { delete static_cast<at::Storage*>(context); },
        tensor->device()));
    storage->set_nbytes(shared->nbytes());
  });
}

void ds_reuse_blocks() {
  // Never freed: tensors may outlive every owner. Less than what counts bytes.
  static auto* const aligning = new AligningAllocator();
  c10::SetCPUAllocator(aligning, /*priority=*/100);
}

void ds_count_bytes() {
  std::call_once(counting_once, [] {
    counting = new CountingAllocator(c10::GetCPUAllocator());
    c10::SetCPUAllocator(counting, /*priority=*/255);
  });
}

uint64_t ds_live_bytes() { return counting ? counting->live.load() : 0; }
uint64_t ds_peak_bytes() { return counting ? counting->peak.load() : 0; }
void ds_restart_peak() {
  if (counting) counting->peak.store(counting->live.load());
}
}
