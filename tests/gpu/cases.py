"""What is measured: each kernel, how it is launched, the bytes that it must move, and what torch says of its result.

A case is made by a function of (machine, torch, size); the launch is that of kernels/src/cuda.
"""

import dataclasses
from typing import Callable

from cuda import Long

ALONG = 128  # elements along a side of a tile or block
EPS = 1e-6
CHUNK = 512  # choices that a block of permute.cu has
GATE_WARPS = 4  # of a block of gate.cu, a token each
TILES = 4  # of a group of threads of quantise.cu
PACKS = 2  # of a thread of swiglu.cu
NORM_BLOCKS = 528  # at most, of RMSNorm's way back


@dataclasses.dataclass
class Case:
    """`run` starts the kernels, `check` gives how far they are off (0 for the same bytes) and how far they may be."""

    name: str
    moved_bytes: int
    run: Callable
    check: Callable


def up(n, part):
    return -(-n // part)


def format_of(x):
    return {"torch.bfloat16": "bf16", "torch.float32": "f32"}[str(x.dtype)]


def pack(x):
    return 16 // x.element_size()


def ending(x, n):
    """For rows of n: torch's own memory starts at whole packs."""
    return format_of(x) + ("" if n % pack(x) == 0 else "_any")


def row_threads(x):
    return 32 * min(8, max(1, up(x.shape[-1], pack(x) * 32)))


def nbytes(*tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def apart(got, want):
    """The greatest difference, relative to the greatest element."""
    return ((got.double() - want.double()).abs().max() / want.double().abs().max()).item()


# Rounding to BF16, or sums in FP32 in another order.
def allowed(x):
    return 8e-3 if format_of(x) == "bf16" else 1e-5


def codes_of(torch, x, scales):
    return (x.float() / scales).to(torch.float8_e4m3fn).view(torch.uint8)


def quantise(machine, torch, x, side):
    """Tiles of 1 × 128, or blocks of 128 × 128."""
    m, k = x.shape
    across, down = up(k, ALONG), m if side == "tiles" else up(m, ALONG)
    codes = torch.empty(m, k, dtype=torch.uint8, device=x.device)
    scales = torch.empty(down, across, device=x.device)
    blocks = up(m * across * (ALONG // pack(x)), 256 * TILES) if side == "tiles" else down * across
    arguments = [x, codes, scales, Long(m), Long(k), 0, 1e-4]

    def check():
        tall = ALONG if side == "blocks" else 1
        padded = torch.nn.functional.pad(x.float(), (0, across * ALONG - k, 0, down * tall - m))
        greatest = padded.view(down, tall, across, ALONG).abs().amax((1, 3))
        # By a tensor: on a card torch divides by a number as it multiplies by its inverse.
        want = greatest.clamp_min(1e-4) / torch.full_like(greatest, 448)
        spread = want.repeat_interleave(tall, 0)[:m].repeat_interleave(ALONG, 1)[:, :k]
        wrong = (codes != codes_of(torch, x, spread)).sum().item() + (scales != want).sum().item()
        return float(wrong), 0.0

    run = lambda: machine.launch(f"quantise_{side}_{ending(x, k)}", blocks, 256, 0, arguments)
    return Case(f"FP8 codes, {side}, {format_of(x)}", nbytes(x, codes, scales), run, check)


def quantise_upright(machine, torch, x):
    """Tiles of 1 × 128 of the transpose."""
    m, k = x.shape
    down = up(m, ALONG)
    codes = torch.empty(k, m, dtype=torch.uint8, device=x.device)
    scales = torch.empty(down, k, device=x.device)

    def check():
        greatest = torch.nn.functional.pad(x.float(), (0, 0, 0, down * ALONG - m)).view(down, ALONG, k).abs().amax(1)
        want = greatest.clamp_min(1e-4) / torch.full_like(greatest, 448)
        wanted = codes_of(torch, x, want.repeat_interleave(ALONG, 0)[:m]).t()
        return float((codes != wanted).sum().item() + (scales != want).sum().item()), 0.0

    arguments = [x, codes, scales, Long(m), Long(k), 0, 1e-4, None, Long(m)]
    run = lambda: machine.launch(f"quantise_upright_{ending(x, k)}", down * up(k, ALONG), 256, 0, arguments)
    return Case(f"FP8 codes, upright, {format_of(x)}", nbytes(x, codes, scales), run, check)


def norms(machine, torch, x):
    rows, n = x.shape
    w, dy = torch.randn_like(x[0]), torch.randn_like(x)
    y, dx = torch.empty_like(x), torch.empty_like(x)
    scale = torch.empty(rows, device=x.device)
    per_block = max(16, up(rows, NORM_BLOCKS))
    shares = torch.empty(up(rows, per_block), n, device=x.device)
    shared_bytes = up(n, pack(x)) * pack(x) * 4
    leaves = lambda: [t.double().requires_grad_() for t in (x, w)]
    normed = lambda a, b: a * torch.rsqrt(a.square().mean(-1, keepdim=True) + EPS) * b

    def run():
        machine.launch(f"rms_norm_{ending(x, n)}", rows, row_threads(x), 0, [x, w, y, scale, Long(n), EPS])

    def check():
        return apart(y, normed(*leaves())), allowed(x)

    yield Case(f"RMSNorm, {format_of(x)}", nbytes(x, y, scale), run, check)

    def run_back():
        arguments = [dy, x, w, scale, dx, shares, Long(rows), Long(n), Long(per_block)]
        machine.launch(f"rms_norm_back_{ending(x, n)}", shares.shape[0], row_threads(x), shared_bytes, arguments)

    def check_back():
        exact = leaves()
        normed(*exact).backward(dy.double())
        return max(apart(dx, exact[0].grad), apart(shares.sum(0), exact[1].grad)), 4 * allowed(x)

    yield Case(f"RMSNorm backward, {format_of(x)}", nbytes(dy, x, scale, dx), run_back, check_back)


def swiglu(machine, torch, both):
    rows, n = both.shape[0], both.shape[1] // 2
    act, dact = (torch.randn(rows, n, dtype=both.dtype, device=both.device) for _ in range(2))
    dboth, again = torch.empty_like(both), torch.empty_like(act)
    blocks, sizes = up(rows * up(n, pack(both)), 256 * PACKS), [Long(rows), Long(n)]

    def product(leaf):
        gate, up = leaf.chunk(2, -1)
        return torch.nn.functional.silu(gate) * up

    def run():
        machine.launch(f"swiglu_{ending(both, n)}", blocks, 256, 0, [both, act, *sizes])

    check = lambda: (apart(act, product(both.double())), allowed(both))
    yield Case(f"SwiGLU, {format_of(both)}", nbytes(both, act), run, check)

    def run_back():
        machine.launch(f"swiglu_back_{ending(both, n)}", blocks, 256, 0, [both, dact, dboth, again, *sizes])

    def check_back():
        leaf = both.double().requires_grad_()
        want = product(leaf)
        want.backward(dact.double())
        return max(apart(dboth, leaf.grad), apart(again, want.detach())), 4 * allowed(both)

    yield Case(f"SwiGLU backward, {format_of(both)}", nbytes(both, dact, dboth, again), run_back, check_back)


def places(machine, torch, t, e, k):
    """Chosen experts [t, k] at random, and the row of every choice."""
    experts = torch.rand(t, e, device=machine.device).topk(k).indices.contiguous()
    blocks, n = up(t * k, CHUNK), Long(t * k)
    counts, starts = (torch.empty(blocks, e, dtype=torch.int32, device=machine.device) for _ in range(2))
    totals, place = torch.empty(e, dtype=torch.int64, device=machine.device), torch.empty_like(experts)

    def run():
        machine.launch("count_choices", blocks, 32, 4 * e, [experts, counts, n, e])
        machine.launch("start_choices", 1, up(e, 32) * 32, 0, [counts, starts, totals, Long(blocks), e])
        machine.launch("place_choices", blocks, 32, 4 * e, [experts, starts, place, n, e])

    def check():
        flat = experts.view(-1)
        want = flat.argsort(stable=True).argsort()
        wrong = (place.view(-1) != want).sum() + (totals != flat.bincount(minlength=e)).sum()
        return float(wrong.item()), 0.0

    return place, Case(f"places of {t} x {k} choices", 2 * nbytes(experts) + nbytes(place), run, check)


def permutation(machine, torch, x, place):
    (t, n), k = x.shape, place.shape[1]
    h, dout, rows = torch.randn_like(x), torch.randn_like(x), x.new_empty(t * k, n)
    weight = torch.rand(t, k, device=x.device)
    back, out, drows, dweight = torch.empty_like(x), torch.empty_like(x), torch.empty_like(rows), torch.empty_like(weight)
    flat = place.view(-1)

    def launch(kernel, blocks, tensors):
        return lambda: machine.launch(
            f"{kernel}_{ending(x, n)}", blocks, row_threads(x), 0, [*tensors, Long(k), Long(n)]
        )

    def by_token():
        return rows.double()[flat].view(t, k, n)

    def check_back():
        wanted = torch.empty_like(drows, dtype=torch.float64)
        wanted[flat] = (dout.double().unsqueeze(1) * weight.double().unsqueeze(-1)).view(t * k, n)
        slopes = (by_token() * dout.double().unsqueeze(1)).sum(-1)
        return max(apart(drows, wanted), apart(dweight, slopes)), allowed(x)

    weighed = lambda: h.double() + (by_token() * weight.double().unsqueeze(-1)).sum(1)
    steps = [
        ("spread", t, [x, place, rows], nbytes(x, rows),
         lambda: (apart(rows[flat].view(t, k, n), x.unsqueeze(1).expand(t, k, n)), 0.0)),
        ("gather", t, [rows, place, back], nbytes(rows, back), lambda: (apart(back, by_token().sum(1)), allowed(x))),
        ("combine", t, [h, rows, place, weight, out], nbytes(h, rows, out), lambda: (apart(out, weighed()), allowed(x))),
        ("combine_back", t * k, [dout, rows, place, weight, drows, dweight], nbytes(dout, rows, drows), check_back),
    ]
    for kernel, blocks, tensors, moved_bytes, check in steps:
        yield Case(f"{kernel}, {format_of(x)}", moved_bytes, launch(kernel, blocks, tensors), check)


def gate(machine, torch, t, e, k, n_groups, picked):
    """Sigmoid, a bias that is added, groups by the sum of their two best, weights that sum to the scale."""
    # Few different logits, so that there are ties.
    logits = torch.randint(-40, 40, (t, e), device=machine.device).float() / 10
    bias = torch.randint(-2, 3, (e,), device=machine.device).float() / 100
    scores, weights = torch.empty_like(logits), torch.empty(t, k, device=machine.device)
    experts = torch.empty(t, k, dtype=torch.int64, device=machine.device)
    shared_bytes = GATE_WARPS * (2 * e + n_groups) * 4
    tensors, rule = [logits, bias, scores, experts, weights], [e, k, 0, 0, n_groups, picked, 2, 1]

    def run():
        machine.launch("gate", up(t, GATE_WARPS), 32 * GATE_WARPS, shared_bytes, [*tensors, Long(t), *rule, 2.5])

    def check():
        first = lambda values, n: values.sort(stable=True, descending=True, dim=-1).indices[:, :n]
        grouped = (scores + bias).view(t, n_groups, -1)
        barred = torch.ones(t, n_groups, dtype=torch.bool, device=machine.device)
        barred.scatter_(1, first(grouped.topk(2).values.sum(-1), picked), False)
        want = first(grouped.masked_fill(barred.unsqueeze(-1), float("-inf")).view(t, e), k)
        own = scores.gather(1, want)
        off = max(apart(scores, logits.sigmoid()), apart(weights, own / own.sum(-1, keepdim=True) * 2.5))
        return off + (experts != want).sum().item(), 1e-5

    yield Case(f"gate, {e} experts, top {k}", nbytes(*tensors) - nbytes(bias), run, check)
    dscores, dweights, dlogits = torch.randn_like(scores), torch.randn_like(weights), torch.empty_like(logits)
    back = [scores, experts, dscores, dweights, dlogits]

    def run_back():
        sizes = [Long(t), e, k, 0, 1, 2.5]
        machine.launch("gate_back", up(t, GATE_WARPS), 32 * GATE_WARPS, GATE_WARPS * e * 4, [*back, *sizes])

    def check_back():
        leaf = logits.double().requires_grad_()
        own = leaf.sigmoid().gather(1, experts)
        weighed = (own / own.sum(-1, keepdim=True) * 2.5 * dweights).sum()
        (weighed + (leaf.sigmoid() * dscores).sum()).backward()
        return apart(dlogits, leaf.grad), 1e-5

    yield Case("gate backward", nbytes(*back), run_back, check_back)


def all_cases(machine, torch, rows, width):
    """Made one after the other, so that memory holds one at a time."""
    torch.manual_seed(1)
    t, e, k = max(4, rows // 4), 256, 8
    yield from gate(machine, torch, rows, e, k, 8, 4)
    place, case = places(machine, torch, t, e, k)
    yield case
    for dtype in (torch.bfloat16, torch.float32):
        random = lambda m, k: torch.randn(m, k, device=machine.device).to(dtype)
        yield quantise(machine, torch, random(rows, width), "tiles")
        yield quantise(machine, torch, random(rows, width), "blocks")
        yield quantise_upright(machine, torch, random(rows, width))
        yield from norms(machine, torch, random(rows, width))
        yield from swiglu(machine, torch, random(rows, width))
        yield from permutation(machine, torch, random(t, width), place)
