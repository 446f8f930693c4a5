// Which experts a token goes to, and with what weights (arXiv 2412.19437, equations 12 to 20), and the way back to the logits.
// A warp a token.
#include "common.cuh"

namespace {
constexpr int WARPS = 4;        // of a block
constexpr float TINY = 1e-20f;  // keeps sums of zeros from dividing
constexpr int SIGMOID = 0, ADDED = 0, TWO_BEST = 2;

__device__ inline float lowest() { return -__uint_as_float(INFINITE); }

__device__ inline float sum_of_warp(float x) {
  for (int apart = 16; apart > 0; apart /= 2) x += __shfl_xor_sync(ALL_LANES, x, apart);
  return x;
}

// Keys are in the order of numbers; zeros are equal whatever their sign, NaN is greatest, and no number has key 0.
__device__ inline u32 key(float x) {
  u32 bits = __float_as_uint(x + 0.0f);
  if ((bits & MAGNITUDE) > INFINITE) return 0xffffffff;
  return bits >> 31 ? ~bits : bits | ~MAGNITUDE;
}

// The greatest key comes first, of equals the lower index.
__device__ inline u64 candidate(u32 key, int index) { return static_cast<u64>(key) << 32 | ~static_cast<u32>(index); }
__device__ inline int index_of(u64 candidate) { return static_cast<int>(~static_cast<u32>(candidate)); }

__device__ inline u32 greatest_of_warp(u32 x) {
#ifdef __CUDA_ARCH__
  return __reduce_max_sync(ALL_LANES, x);
#else
  for (int apart = 16; apart > 0; apart /= 2) x = max(x, __shfl_xor_sync(ALL_LANES, x, apart));
  return x;
#endif
}

__device__ inline u64 best_of_warp(u64 x) {
  u32 own = static_cast<u32>(x >> 32), key = greatest_of_warp(own);
  return static_cast<u64>(key) << 32 | greatest_of_warp(own == key ? static_cast<u32>(x) : 0);
}

// Affinities of one token, e of them, from its logits.
__device__ void score(const float* logits, float* scores, int e, int kind) {
  int lane = threadIdx.x % 32;
  if (kind == SIGMOID) {
#pragma unroll 8
    for (int i = lane; i < e; i += 32) scores[i] = sigmoid(logits[i]);
    return;
  }
  float greatest = lowest(), sum = 0;
  for (int i = lane; i < e; i += 32) greatest = fmaxf(greatest, logits[i]);
  for (int apart = 16; apart > 0; apart /= 2) greatest = fmaxf(greatest, __shfl_xor_sync(ALL_LANES, greatest, apart));
  for (int i = lane; i < e; i += 32) {
    scores[i] = expf(logits[i] - greatest);
    sum += scores[i];
  }
  sum = sum_of_warp(sum);
  for (int i = lane; i < e; i += 32) scores[i] = scores[i] / sum;
}

// What experts are chosen by. The bias weighs nothing else.
struct Biased {
  const float* scores;
  const float* bias;
  int use;
  __device__ float operator[](int i) const {
    return use == ADDED ? scores[i] + bias[i] : scores[i] * (bias[i] + 1.0f);
  }
};

// The two best of some numbers.
struct Best {
  float best = lowest(), second = lowest();
  bool is_nan = false;
  __device__ void see(float x) {
    is_nan |= x != x;
    second = fmaxf(second, fminf(best, x));
    best = fmaxf(best, x);
  }
};

// Keys of the groups' worths: of each its best, or the sum of its two best. So many neighbouring lanes share a group.
__device__ void weigh(const Biased& biased, u32* worths, int n_groups, int size, int n_best) {
  int lane = threadIdx.x % 32, lanes = 1;
  while (lanes * 2 * n_groups <= 32) lanes *= 2;
  for (int first = 0; first < n_groups; first += 32 / lanes) {
    int group = first + lane / lanes;
    Best own;
    for (int i = lane % lanes; group < n_groups && i < size; i += lanes) own.see(biased[group * size + i]);
    for (int apart = lanes / 2; apart > 0; apart /= 2) {
      float best = __shfl_xor_sync(ALL_LANES, own.best, apart), second = __shfl_xor_sync(ALL_LANES, own.second, apart);
      bool is_nan = __shfl_xor_sync(ALL_LANES, static_cast<int>(own.is_nan), apart) != 0;
      own.see(best);
      own.see(second);
      own.is_nan |= is_nan;
    }
    bool is_sum = n_best == TWO_BEST && size > 1;
    if (group < n_groups && lane % lanes == 0) {
      worths[group] = own.is_nan ? 0xffffffff : key(is_sum ? own.best + own.second : own.best);
    }
  }
}
}  // namespace

// logits, scores [t, e], bias [e] → experts, weights [t, k], best first. Shared memory: for each warp e scores, e keys and
// n_groups worths.
extern "C" __global__ void gate(const float* logits, const float* bias, float* scores, i64* experts, float* weights,
                                i64 t, int e, int k, int score_kind, int bias_use, int n_groups, int picked,
                                int n_best, int normalise, float route_scale) {
  DYNAMIC_SHARED(float, shared);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  i64 token = static_cast<i64>(blockIdx.x) * WARPS + warp;
  if (token >= t) return;
  float* mine = shared + warp * (2 * e + n_groups);
  u32* keys = reinterpret_cast<u32*>(mine + e);
  u32* worths = keys + e;
  score(logits + token * e, mine, e, score_kind);
  __syncwarp();
  Biased biased{mine, bias, bias_use};
  int size = e / n_groups;
  weigh(biased, worths, n_groups, size, n_best);
  __syncwarp();
  for (int i = lane; i < e; i += 32) {
    u64 own = candidate(worths[i / size], i / size);
    int better = 0;
    for (int group = 0; group < n_groups; group++) better += candidate(worths[group], group) > own;
    keys[i] = key(better < picked ? biased[i] : lowest());
    scores[token * e + i] = mine[i];
  }
  __syncwarp();
  float sum = 0;
  for (int j = 0; j < k; j++) {
    u64 best = 0;
#pragma unroll 8
    for (int i = lane; i < e; i += 32) best = max(best, keys[i] == 0 ? 0 : candidate(keys[i], i));
    int expert = index_of(best_of_warp(best));
    sum += mine[expert];
    if (lane == 0) {
      experts[token * k + j] = expert;
      keys[expert] = 0;
    }
    __syncwarp();
  }
  for (int j = lane; j < k; j += 32) {
    float own = mine[experts[token * k + j]];
    weights[token * k + j] = (normalise ? own / (sum + TINY) : own) * route_scale;
  }
}

// dlogits [t, e] from the gradients of scores and weights. Shared memory: e numbers for each warp.
extern "C" __global__ void gate_back(const float* scores, const i64* experts, const float* dscores,
                                     const float* dweights, float* dlogits, i64 t, int e, int k, int score_kind,
                                     int normalise, float route_scale) {
  DYNAMIC_SHARED(float, shared);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  i64 token = static_cast<i64>(blockIdx.x) * WARPS + warp;
  if (token >= t) return;
  float* d = shared + warp * e;
  scores += token * e;
  experts += token * k;
  dweights += token * k;
#pragma unroll 8
  for (int i = lane; i < e; i += 32) d[i] = dscores[token * e + i];
  __syncwarp();
  float sum = 0, product = 0;
  for (int j = lane; j < k; j += 32) {
    sum += scores[experts[j]];
    product += scores[experts[j]] * dweights[j];
  }
  sum = sum_of_warp(sum) + TINY;
  product = sum_of_warp(product);
  for (int j = lane; j < k; j += 32) {
    float of_score = normalise ? (dweights[j] - product / sum) / sum : dweights[j];
    d[experts[j]] += of_score * route_scale;  // a token's experts differ
  }
  __syncwarp();
  float common = 0;
  if (score_kind != SIGMOID) {
    for (int i = lane; i < e; i += 32) common += d[i] * scores[i];
    common = sum_of_warp(common);
  }
#pragma unroll 8
  for (int i = lane; i < e; i += 32) {
    float s = scores[i];
    dlogits[token * e + i] = score_kind == SIGMOID ? d[i] * s * (1 - s) : s * (d[i] - common);
  }
}
