// Fused operations on the CPU, as plain C: norms, and the way of tokens through experts. Every function returns 0, or 1 with
// a sentence in `error`; no exception leaves. Callers hold dense tensors of one format.
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "guarded.h"
#include "loops.h"

namespace {
using ds::guarded;
using ds::Loops;

// Rows that one thread takes at a time; also the rows whose shares of a weight's gradient are summed apart, so that
// the sum is the same on any number of threads.
constexpr int64_t ROWS = 64;

// LibTorch compiles a program for every shape of a product in BF16, and keeps those of a thousand shapes. Experts get
// other rows every time, so theirs are filled up to a multiple of this.
constexpr int64_t ROWS_OF_A_PROGRAM = 32;

const Loops& loops_of(const at::Tensor& tensor) {
#ifdef __x86_64__
  static const Loops* const table = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                                        ? ds::AVX512
                                    : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? ds::AVX2
                                                                                                      : ds::BASE;
#else
  static const Loops* const table = ds::BASE;
#endif
  switch (tensor.scalar_type()) {
    case at::kFloat: return table[ds::F32];
    case at::kDouble: return table[ds::F64];
    case at::kBFloat16: return table[ds::BF16];
    default: TORCH_CHECK(false, "no fused operations in ", tensor.scalar_type());
  }
}

at::ScalarType wide(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Calls `work(first, last)` for blocks of ROWS rows.
template <typename F>
void in_blocks(int64_t rows, F work) {
  at::parallel_for(0, (rows + ROWS - 1) / ROWS, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) work(block * ROWS, std::min(rows, (block + 1) * ROWS));
  });
}

// Calls `work(i)` for every i, the costly ones first; threads help themselves. Each i alone decides its result.
template <typename F>
void share_out(const std::vector<int64_t>& costs, F work) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  auto busy = std::count_if(costs.begin(), costs.end(), [](int64_t cost) { return cost > 0; });
  auto one = [&](size_t i) {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    if (costs[i] > 0) work(i);
  };
  // Fewer experts than threads: each product has all threads to itself.
  if (busy < at::get_num_threads()) {
    for (size_t i : order) one(i);
    return;
  }
  std::atomic<size_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t thread = begin; thread < end; thread++) {
      for (size_t i; (i = next++) < order.size();) one(order[i]);
    }
  });
}

// a b, with `widen` set in FP32 and rounded once.
void product(at::Tensor out, const at::Tensor& a, const at::Tensor& b, bool widen) {
  if (widen) {
    out.copy_(at::mm(a.to(at::kFloat), b.to(at::kFloat)));
  } else {
    at::mm_out(out, a, b);
  }
}

// sum += aᵀ b; the sum is FP32 or wider.
void add_product(at::Tensor sum, const at::Tensor& a, const at::Tensor& b, bool widen) {
  if (widen) {
    sum.addmm_(a.to(at::kFloat).t(), b.to(at::kFloat));
  } else if (a.scalar_type() == sum.scalar_type()) {
    sum.addmm_(a.t(), b);
  } else {
    sum.add_(at::mm(a.t(), b));
  }
}

}  // namespace

// The experts of a rank and the rows that each of the n has got, as callers hold them.
struct ds_weights_of_experts {
  at::Tensor* gate_up;
  at::Tensor* down;
  const int64_t* counts;
  size_t n;
  int widen;
};

namespace {
// The same, with where the rows of each begin.
struct Experts {
  const at::Tensor& gate_up;  // [2e, n, d], two neighbours an expert
  const at::Tensor& down;     // [e, d, n]
  std::vector<int64_t> counts, firsts;
  bool widen;

  explicit Experts(const ds_weights_of_experts& all)
      : gate_up(*all.gate_up),
        down(*all.down),
        counts(all.counts, all.counts + all.n),
        firsts(all.n),
        widen(all.widen != 0) {
    std::exclusive_scan(counts.begin(), counts.end(), firsts.begin(), int64_t{0});
  }
  int64_t inner() const { return down.size(2); }
  at::Tensor rows(const at::Tensor& all, size_t i) const { return all.narrow(0, firsts[i], counts[i]); }
  // Rows of an expert's products.
  int64_t filled(size_t i) const {
    bool compiled = down.scalar_type() == at::kBFloat16 && !widen;
    return compiled ? (counts[i] + ROWS_OF_A_PROGRAM - 1) / ROWS_OF_A_PROGRAM * ROWS_OF_A_PROGRAM : counts[i];
  }
  // The rows of an expert, and zeros below them.
  at::Tensor filled_rows(const at::Tensor& all, size_t i) const {
    if (filled(i) == counts[i]) return rows(all, i);
    auto out = empty(i, all.size(1));
    head(out, i).copy_(rows(all, i));
    return out;
  }
  // Room for the results of an expert's products, zeros where it has got no rows.
  at::Tensor empty(size_t i, int64_t width) const {
    auto out = at::empty({filled(i), width}, down.options());
    if (filled(i) > counts[i]) out.narrow(0, counts[i], filled(i) - counts[i]).zero_();
    return out;
  }
  at::Tensor head(const at::Tensor& own, size_t i) const { return own.narrow(0, 0, counts[i]); }
  // a b of the rows of an expert, into its place among all.
  void product_into(const at::Tensor& all, size_t i, const at::Tensor& a, const at::Tensor& b) const {
    if (filled(i) == counts[i]) return product(rows(all, i), a, b, widen);
    auto out = at::empty({filled(i), b.size(1)}, all.options());
    product(out, a, b, widen);
    rows(all, i).copy_(head(out, i));
  }
  at::Tensor up(const at::Tensor& all, size_t i) const { return all.narrow(0, 2 * i, 2).flatten(0, 1); }
  at::Tensor last(const at::Tensor& all, size_t i) const { return all.select(0, i); }

  // Of an expert's filled rows.
  struct Back {
    at::Tensor dy, dboth, act;
  };
  // The way back to the two halves of an expert, and what its last product was of.
  Back back(const at::Tensor& dy, const at::Tensor& both, size_t i) const {
    auto halves = rows(both, i);
    Back out{filled_rows(dy, i), empty(i, halves.size(1)), empty(i, inner())};
    auto dact = at::empty({filled(i), inner()}, dy.options());
    product(dact, out.dy, last(down, i), widen);
    auto run = loops_of(dy).swiglu_back;
    in_blocks(halves.size(0), [&](int64_t first, int64_t last) {
      run(halves.const_data_ptr(), dact.const_data_ptr(), out.dboth.data_ptr(), out.act.data_ptr(), first, last, inner());
    });
    return out;
  }
};
}  // namespace

extern "C" {
int ds_rms_norm(at::Tensor* x, at::Tensor* w, double eps, at::Tensor** y, at::Tensor** scale, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    int64_t n = w->numel(), rows = x->numel() / n;
    auto out = at::empty_like(*x), scales = at::empty({rows}, x->options().dtype(wide(*x)));
    auto run = loops_of(*x).rms_norm;
    in_blocks(rows, [&](int64_t first, int64_t last) {
      run(x->const_data_ptr(), w->const_data_ptr(), out.data_ptr(), scales.data_ptr(), first, last, n, eps);
    });
    *y = new at::Tensor(out);
    *scale = new at::Tensor(scales);
  });
}

int ds_rms_norm_back(at::Tensor* dy, at::Tensor* x, at::Tensor* w, at::Tensor* scale, at::Tensor** dx, at::Tensor** dw,
                     char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    int64_t n = w->numel(), rows = x->numel() / n;
    auto out = at::empty_like(*x);
    auto shares = at::zeros({(rows + ROWS - 1) / ROWS, n}, scale->options());
    auto share = static_cast<char*>(shares.data_ptr());
    auto run = loops_of(*x).rms_norm_back;
    in_blocks(rows, [&](int64_t first, int64_t last) {
      run(dy->const_data_ptr(), x->const_data_ptr(), w->const_data_ptr(), scale->const_data_ptr(), out.data_ptr(),
          share + first / ROWS * n * shares.itemsize(), first, last, n);
    });
    *dx = new at::Tensor(out);
    *dw = new at::Tensor(shares.sum(0));
  });
}

// y [r, d] of x [r, d], sorted by expert; `both` [r, 2n] is kept for backward.
int ds_experts(at::Tensor* x, ds_weights_of_experts weights, at::Tensor** y, at::Tensor** both, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    Experts experts(weights);
    auto halves = at::empty({x->size(0), 2 * experts.inner()}, x->options());
    auto out = at::empty_like(*x);
    auto swiglu = loops_of(*x).swiglu;
    share_out(experts.counts, [&](size_t i) {
      experts.product_into(halves, i, experts.filled_rows(*x, i), experts.up(experts.gate_up, i).t());
      auto mine = experts.rows(halves, i), act = experts.empty(i, experts.inner());
      in_blocks(mine.size(0), [&](int64_t first, int64_t last) {
        swiglu(mine.const_data_ptr(), act.data_ptr(), first, last, experts.inner());
      });
      experts.product_into(out, i, act, experts.last(experts.down, i).t());
    });
    *y = new at::Tensor(out);
    *both = new at::Tensor(halves);
  });
}

// dx; the weights' gradients are added to `dgate_up` and `ddown`, FP32 or wider, in the shapes of the weights.
int ds_experts_back(at::Tensor* dy, at::Tensor* x, at::Tensor* both, ds_weights_of_experts weights,
                    at::Tensor* dgate_up, at::Tensor* ddown, at::Tensor** dx, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    Experts experts(weights);
    auto out = at::empty_like(*x);
    share_out(experts.counts, [&](size_t i) {
      auto back = experts.back(*dy, *both, i);
      add_product(experts.last(*ddown, i), back.dy, back.act, experts.widen);
      experts.product_into(out, i, back.dboth, experts.up(experts.gate_up, i));
      add_product(experts.up(*dgate_up, i), back.dboth, experts.filled_rows(*x, i), experts.widen);
    });
    *dx = new at::Tensor(out);
  });
}

// dx, and what the weights' gradients are made of: dboth [r, 2n] and act [r, n].
int ds_experts_back_input(at::Tensor* dy, at::Tensor* both, ds_weights_of_experts weights, at::Tensor** dx,
                          at::Tensor** dboth, at::Tensor** act, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    Experts experts(weights);
    auto out = at::empty_like(*dy), halves = at::empty_like(*both);
    auto acts = at::empty({dy->size(0), experts.inner()}, dy->options());
    share_out(experts.counts, [&](size_t i) {
      auto back = experts.back(*dy, *both, i);
      experts.product_into(out, i, back.dboth, experts.up(experts.gate_up, i));
      experts.rows(halves, i).copy_(experts.head(back.dboth, i));
      experts.rows(acts, i).copy_(experts.head(back.act, i));
    });
    *dx = new at::Tensor(out);
    *dboth = new at::Tensor(halves);
    *act = new at::Tensor(acts);
  });
}

// The rest of ds_experts_back.
int ds_experts_back_weight(at::Tensor* dy, at::Tensor* x, at::Tensor* dboth, at::Tensor* act,
                           ds_weights_of_experts weights, at::Tensor* dgate_up, at::Tensor* ddown, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    Experts experts(weights);
    share_out(experts.counts, [&](size_t i) {
      auto filled = [&](at::Tensor* all) { return experts.filled_rows(*all, i); };
      add_product(experts.last(*ddown, i), filled(dy), filled(act), experts.widen);
      add_product(experts.up(*dgate_up, i), filled(dboth), filled(x), experts.widen);
    });
  });
}

// h [t, d] + Σ_j weight [t, j] · back [place [t, j]].
int ds_combine(at::Tensor* h, at::Tensor* back, at::Tensor* place, at::Tensor* weight, at::Tensor** out, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    auto sum = at::empty_like(*h);
    int64_t k = weight->size(1), n = back->size(1);
    auto run = loops_of(*h).combine;
    in_blocks(weight->size(0), [&](int64_t first, int64_t last) {
      run(h->const_data_ptr(), back->const_data_ptr(), place->const_data_ptr<int64_t>(), weight->const_data_ptr(),
          sum.data_ptr(), first, last, k, n);
    });
    *out = new at::Tensor(sum);
  });
}

int ds_combine_back(at::Tensor* dout, at::Tensor* back, at::Tensor* place, at::Tensor* weight, at::Tensor** dback,
                    at::Tensor** dweight, char* error) {
  return guarded(error, [&] {
    at::AutoDispatchBelowADInplaceOrView without_autograd;
    auto rows = at::empty_like(*back), weights = at::empty_like(*weight);
    int64_t k = weight->size(1), n = back->size(1);
    auto run = loops_of(*back).combine_back;
    in_blocks(weight->size(0), [&](int64_t first, int64_t last) {
      run(dout->const_data_ptr(), back->const_data_ptr(), place->const_data_ptr<int64_t>(), weight->const_data_ptr(),
          rows.data_ptr(), weights.data_ptr(), first, last, k, n);
    });
    *dback = new at::Tensor(rows);
    *dweight = new at::Tensor(weights);
  });
}
}
