// What tch does not offer, as plain C: backward for chosen inputs, autograd nodes written in Rust, foreach and fused
// operations. Every function returns 0, or 1 with a sentence in `error`; no exception leaves.
#include <ATen/core/ivalue.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

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
