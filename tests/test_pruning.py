"""Token pruning: counts known on the host, sizes that add up, rows that do not see batch mates."""

import math

import pytest
import torch
from torch.nn import functional as F

from models.encoders.merging import METHODS
from models.encoders.pruning import (
    PruningConfig,
    TokenPruner,
    Tokens,
    keep_counts,
    keep_rate_at,
    layer_rates,
)
from models.encoders.scores import (
    attention_received,
    neighbour_similarity,
    rounded,
    value_weighted_received,
)

WEIGHTED = [name for name, method in METHODS.items() if method.weighted]
LENGTHS = [40, 17, 29, 8]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(lengths=LENGTHS, heads=3, width=4, features=5, seed=0):
    """Returns hidden, q, k, v of a padded batch whose padding holds nonsense."""
    count = max(lengths)
    hidden = noise(len(lengths), count, features, seed=seed)
    q, k, v = (noise(len(lengths), heads, count, width, seed=seed + i) for i in (1, 2, 3))
    for row, n in enumerate(lengths):
        hidden[row, n:], q[row, :, n:], k[row, :, n:], v[row, :, n:] = 1e30, 99.0, 99.0, 99.0
    return hidden, q, k, v


def prune(method, lengths=LENGTHS, keep_rate=0.5, k_min=3, data=None, **settings):
    """Returns the outcome of one pruning layer."""
    hidden, q, k, v = data or batch(lengths)
    config = PruningConfig(method, keep_rate, layer=0, k_min=k_min, **settings)
    pruner = TokenPruner(config, depth=1)
    start = pruner.start(lengths, hidden.shape[1], hidden.device)
    return pruner.prune(0, hidden, start, q, k, v, torch.eye(12))


# --- how many stay ----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.7, 1.0])
def test_keep_counts_follow_the_rule_and_no_batch_mate(rate):
    lengths = [1, 5, 16, 17, 49, 500]
    expected = [min(n, max(16, math.ceil(rate * n))) for n in lengths]
    assert keep_counts(lengths, rate, 16) == expected
    assert [keep_counts([n], rate, 16)[0] for n in lengths] == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [0.3, 0.77])
def test_every_method_leaves_exactly_the_count(method, rate):
    hidden, tokens = prune(method, keep_rate=rate)
    assert tokens.lengths == [max(3, math.ceil(rate * n)) for n in LENGTHS]
    assert hidden.shape == (4, max(tokens.lengths), 5) and tokens.width == hidden.shape[1]
    assert tokens.frames == LENGTHS
    assert torch.equal((tokens.weights() > 0).sum(1), torch.tensor(tokens.lengths))


def test_schedules_over_layers():
    assert layer_rates(PruningConfig("merge", 0.7), 12) == {6: 0.7}  # half the depth
    constant = PruningConfig("merge", 0.9, layer=4, schedule="constant", last_layer=6)
    assert layer_rates(constant, 12) == {4: 0.9, 5: 0.9, 6: 0.9}
    linear = PruningConfig("topk", 0.95, layer=6, schedule="linear", min_keep_rate=0.75)
    rates = layer_rates(linear, 11)
    assert list(rates) == [6, 7, 8, 9, 10]
    assert rates[6] == 0.75 and rates[10] == 0.95  # the upper end is reached
    assert rates[8] == pytest.approx(0.85)
    assert layer_rates(PruningConfig("merge", 1.0), 12) == {} == layer_rates(PruningConfig(), 12)
    with pytest.raises(ValueError, match="layer must be below the number of layers that run, 4"):
        layer_rates(PruningConfig("merge", 0.5, layer=4), 4)


def test_keep_rates_compound_over_layers_down_to_the_floor():
    pruner = TokenPruner(PruningConfig("topk", 0.5, layer=0, k_min=8, schedule="constant"), 4)
    lengths, seen = [41, 9], []
    for layer in range(4):
        lengths = pruner.counts(lengths, layer)
        seen.append(lengths)
    assert seen == [[21, 8], [11, 8], [8, 8], [8, 8]]


def test_keep_rate_of_training_is_evits_cosine():
    rates = [keep_rate_at(step, 0.6, start=10, end=50) for step in range(0, 61)]
    assert rates[:11] == [1.0] * 11 and rates[50:] == [0.6] * 11
    assert rates[30] == pytest.approx(0.8)
    assert rates == sorted(rates, reverse=True)
    assert keep_rate_at(20, 0.6, start=10, end=50) == pytest.approx(
        0.6 + 0.4 * (1 + math.cos(math.pi / 4)) / 2
    )
    assert [keep_rate_at(s, 0.6, start=3, end=3) for s in (2, 3)] == [1.0, 0.6]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"keep_rate": 1.3}, r"keep_rate must be in \(0, 1\], got 1.3"),
        ({"keep_rate": 0}, r"keep_rate must be in \(0, 1\], got 0"),
        ({"method": "topk_merg"}, "method must be one of none, .*did you mean 'topk_merge'"),
        ({"schedule": "cosine"}, "schedule must be one of one_shot, constant, linear"),
        ({"score": "cls"}, "score must be one of received, value_received"),
        ({"k_min": 0}, "k_min must be at least 1, got 0"),
        ({"layer": -1}, "layer must be 0 or more"),
        ({"layer": 4, "last_layer": 3}, "last_layer must not come before layer=4, got 3"),
        ({"schedule": "linear"}, "min_keep_rate must be set for schedule linear"),
        ({"keep_rate": 0.5, "min_keep_rate": 0.6}, r"min_keep_rate must be in \(0, 0.5\]"),
    ],
)
def test_settings_out_of_range_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        PruningConfig(**settings)


# --- scores -----------------------------------------------------------------------------------


def dense_attention(q, k, sizes):
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (logits + sizes.log()[:, None, None]).softmax(-1)


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_scores_equal_the_attention_matrix_summed(chunk):
    _, q, k, v = batch()
    sizes = Tokens(LENGTHS, 40, q.device).weights()
    sizes = sizes * torch.randint(1, 4, sizes.shape, generator=torch.Generator().manual_seed(5))
    received = attention_received(q, k, sizes, chunk=chunk)
    dense = (dense_attention(q, k, sizes) * sizes[:, None, :, None]).sum(2)  # (B, H, N)
    torch.testing.assert_close(received, dense.mean(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(received.sum(1), sizes.sum(1))
    assert (received[sizes == 0] == 0).all()
    out = noise(12, 12, seed=9)
    norm = torch.stack([(v[:, h] @ out[:, 4 * h : 4 * h + 4].T).norm(dim=-1) for h in range(3)], 1)
    weighted = value_weighted_received(q, k, v, out, sizes, chunk=chunk)
    torch.testing.assert_close(weighted, (dense * norm).mean(1), atol=1e-3, rtol=1e-4)


def test_scores_are_the_fused_kernels_log_sum_exp_and_the_kernel_with_q_and_k_swapped():
    """Two more ways to the same numbers (each slower than ours on a CPU): the oracle is theirs."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    torch.manual_seed(0)
    q, k = torch.randn(2, 4, 40, 8), torch.randn(2, 4, 40, 8)
    sizes = torch.randint(1, 4, (2, 40)).float()
    wide = sizes.log()[:, None, None, :].expand(2, 4, 40, 40)
    each = kernel(q, k, k, attn_mask=wide)[1]  # (B, H, N): log-sum-exp of every query
    logits = q @ k.transpose(-1, -2) / 8**0.5 + wide - each[..., None]
    by_sum = (logits.exp() * sizes[:, None, :, None]).sum(2).mean(1)
    back = (sizes.log()[:, None] - each)[:, :, None].expand(2, 4, 40, 40).contiguous()
    by_swap = (kernel(k, q, q, attn_mask=back)[1] + sizes.log()[:, None]).exp().mean(1)
    ours = attention_received(q, k, sizes, chunk=7)
    torch.testing.assert_close(by_sum, ours, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_swap, ours, atol=1e-5, rtol=1e-5)


def test_scores_move_with_their_tokens():
    _, q, k, _ = batch([20])
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    sizes = torch.ones(1, 20)
    moved = attention_received(q[:, :, order], k[:, :, order], sizes)
    torch.testing.assert_close(moved, attention_received(q, k, sizes)[:, order])


def test_similarity_is_the_cosine_of_neighbours():
    _, _, k, _ = batch([6])
    mean = k.mean(1)[0]
    expected = [F.cosine_similarity(mean[i], mean[i + 1], dim=0) for i in range(5)]
    torch.testing.assert_close(neighbour_similarity(k)[0], torch.stack(expected))


# --- the methods against slow transcriptions --------------------------------------------------


def top(score, keep):
    """Returns the positions of the highest scores, the earlier of equals, in order of time."""
    return sorted(sorted(range(len(score)), key=lambda i: (-score[i], i))[:keep])


def slow(method, hidden, q, k, keep):
    """Returns the groups of one utterance as lists of frames, and their weights."""
    n = len(hidden)
    sizes = torch.ones(1, n)
    score = attention_received(q[None], k[None], sizes)[0].tolist()
    grid = rounded(torch.tensor(score)).tolist()
    near = rounded(neighbour_similarity(k[None]))[0].tolist()
    if method == "merge":
        stretch = (n - 1) // keep + 1
        for start in range(0, (n - 1) // stretch * stretch, stretch):
            whole = range(start, start + stretch)
            near[min(whole, key=lambda i: (near[i], -i))] = -math.inf
        joined = set(top(near, n - keep))
        groups = [[0]]
        for i in range(1, n):
            groups[-1].append(i) if i - 1 in joined else groups.append([i])
        return groups, [[1.0] * len(g) for g in groups]
    if method == "stride":
        return [[(2 * j + 1) * n // (2 * keep)] for j in range(keep)], [[1.0]] * keep
    kept = top(grid, keep - (method == "fuse"))
    if method == "topk":
        return [[i] for i in kept], [[1.0]] * keep
    rest = [i for i in range(n) if i not in kept]
    if method == "fuse":
        return [[i] for i in kept] + [rest], [[1.0]] * len(kept) + [[score[i] for i in rest]]
    groups = [[i] for i in kept]
    for i in rest:
        groups[min(range(keep), key=lambda g: (abs(kept[g] - i), g))].append(i)
    return groups, [[1.0] * len(g) for g in groups]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_methods_equal_a_slow_transcription(method, rate):
    hidden, q, k, _ = data = batch()
    got, tokens = prune(method, keep_rate=rate, data=data)
    for row, (n, keep) in enumerate(zip(LENGTHS, tokens.lengths, strict=True)):
        groups, weights = slow(method, hidden[row, :n], q[row, :, :n], k[row, :, :n], keep)
        for j, (group, weight) in enumerate(zip(groups, weights, strict=True)):
            w = torch.tensor(weight)[:, None]
            expected = (hidden[row, group] * w).sum(0) / w.sum()
            torch.testing.assert_close(got[row, j], expected, atol=1e-5, rtol=1e-5)
            size = len(group) if METHODS[method].weighted else 1
            assert tokens.weights()[row, j] == size
            assert all(tokens.group[row, i] == j for i in group)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_is_the_same_alone_and_in_any_batch(method):
    hidden, q, k, v = batch()
    together, tokens = prune(method, data=(hidden, q, k, v))
    for row, n in enumerate(LENGTHS):
        part = slice(row, row + 1)
        alone_data = (hidden[part, :n], q[part, :, :n], k[part, :, :n], v[part, :, :n])
        alone, own = prune(method, [n], data=alone_data)
        keep = own.lengths[0]
        torch.testing.assert_close(together[part, :keep], alone, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(tokens.weights()[part, :keep], own.weights())
        assert torch.equal(tokens.group[part, :n], own.group)


@pytest.mark.parametrize("method", WEIGHTED)
def test_sizes_add_up_to_the_true_length_over_two_prunings(method):
    hidden, q, k, _ = batch()
    config = PruningConfig(method, 0.6, layer=0, k_min=3, schedule="constant")
    pruner = TokenPruner(config, 2)
    tokens = pruner.start(LENGTHS, 40, hidden.device)
    for layer in range(2):
        width = tokens.width
        hidden, tokens = pruner.prune(layer, hidden, tokens, q[:, :, :width], k[:, :, :width])
        torch.testing.assert_close(tokens.weights().sum(1), torch.tensor(LENGTHS).float())
        counted = torch.stack([
            (tokens.group[row, :n, None] == torch.arange(tokens.width)).sum(0)
            for row, n in enumerate(LENGTHS)
        ])  # fmt: skip
        assert torch.equal(counted.float(), tokens.weights())  # the un-merge map agrees
    assert torch.isfinite(hidden).all() and hidden.abs().max() < 100  # padding never entered


@pytest.mark.parametrize("method", ["merge", "topk_merge"])
def test_merging_keeps_the_mean_over_frames(method):
    hidden, *_ = data = batch()
    got, tokens = prune(method, keep_rate=0.3, data=data)
    for row, n in enumerate(LENGTHS):
        torch.testing.assert_close(tokens.mean(got)[row], hidden[row, :n].mean(0))


def test_unmerging_gives_every_frame_the_state_of_its_token():
    got, tokens = prune("merge", keep_rate=0.4)
    frames = tokens.expand(got)
    assert frames.shape == (4, 40, 5)
    for row, n in enumerate(LENGTHS):
        steps = tokens.group[row, :n].diff()
        assert ((steps == 0) | (steps == 1)).all()  # order of time, nothing skipped
        assert torch.equal(frames[row, :n], got[row, tokens.group[row, :n]])
    untouched = Tokens(LENGTHS, 40, got.device)
    assert untouched.expand(frames) is frames


@pytest.mark.parametrize(("rate", "longest"), [(0.9, 3), (0.5, 3), (0.34, 5), (0.25, 7)])
def test_merged_runs_stay_short(rate, longest):
    """Even where everything up to one point is alike, as in a long silence."""
    hidden, q, k, v = batch([80])
    k[:, :, :60] = k[:, :, :1]
    _, tokens = prune("merge", [80], keep_rate=rate, data=(hidden, q, k, v))
    assert tokens.weights().max() <= longest


@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_keep_the_earlier_token(method):
    """Digital silence: all tokens are alike, and what stays is fixed and not left to rounding."""
    data = tuple(torch.ones_like(x) for x in batch([12]))
    data[0][0, :, 0] = torch.arange(12.0)
    got, _ = prune(method, [12], data=data)
    first = {
        "merge": [0.5, 2.5, 4.5, 6.5, 8.5, 10.5],
        "topk_merge": [0, 1, 2, 3, 4, 8],
        "topk": [0, 1, 2, 3, 4, 5],
        "fuse": [0, 1, 2, 3, 4, 8],
        "stride": [1, 3, 5, 7, 9, 11],
    }[method]
    assert got[0, :, 0].tolist() == first


def test_proportional_attention_is_exact_for_equal_tokens():
    """m equal tokens as m keys, or as one key of size m: the same attention."""
    q, k, v = (noise(1, 2, 6, 4, seed=i) for i in range(3))
    repeats = torch.tensor([1, 3, 1, 2, 5, 1])
    tokens = Tokens([6], 6, q.device, sizes=repeats[None].float())
    merged = F.scaled_dot_product_attention(q, k, v, attn_mask=tokens.attention_bias(q.dtype))
    long = [x.repeat_interleave(repeats, dim=2) for x in (k, v)]
    torch.testing.assert_close(merged, F.scaled_dot_product_attention(q, *long))
    tokens.proportional = False
    assert tokens.attention_bias(q.dtype) is None
    assert Tokens([6], 6, q.device, sizes=torch.ones(1, 6)).attention_bias(q.dtype).eq(0).all()
    assert Tokens([6, 6], 6, q.device).attention_bias(q.dtype) is None
    bias = Tokens([6, 4], 6, q.device).attention_bias(q.dtype)
    assert bias.shape == (2, 1, 1, 6) and bias[1, 0, 0].tolist() == [0.0] * 4 + [-math.inf] * 2


@pytest.mark.parametrize("score", ["received", "value_received"])
@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_device(method, score):
    """On the meta device there are no numbers: any look at one would raise."""
    data = tuple(x.to("meta") for x in batch())
    config = PruningConfig(method, 0.5, layer=0, k_min=3, schedule="constant", score=score)
    pruner = TokenPruner(config, 2)
    tokens = pruner.start(LENGTHS, 40, torch.device("meta"))
    hidden, q, k, v = data
    for layer in range(2):
        n = tokens.width
        part = (x[:, :, :n] for x in (q, k, v))
        hidden, tokens = pruner.prune(layer, hidden, tokens, *part, torch.empty(12, 12).to("meta"))
    assert tokens.expand(hidden).shape == (4, 40, 5) and tokens.mean(hidden).shape == (4, 5)
