"""Pruning inside whole encoders, and what it saves."""

import pytest
import torch

from models.encoders.flops import encoder_flops, frontend_flops
from models.encoders.merging import METHODS
from models.encoders.pruning import PruningConfig, TokenPruner, keep_counts, supports_pruning
from models.encoders.speech_models import make_backbone


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wave_model(kind, large):
    from transformers import (
        Data2VecAudioConfig,
        Data2VecAudioModel,
        HubertConfig,
        HubertModel,
        Wav2Vec2Config,
        Wav2Vec2Model,
    )

    configs = {
        "hubert": (HubertConfig, HubertModel),
        "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
        "data2vec-audio": (Data2VecAudioConfig, Data2VecAudioModel),
    }
    config, model = configs[kind]
    style = {"do_stable_layer_norm": large, "feat_extract_norm": "layer" if large else "group"}
    return model(config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=4, intermediate_size=24,
        conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2), num_conv_pos_embeddings=6,
        num_conv_pos_embedding_groups=2, **({} if kind == "data2vec-audio" else style),
    ))  # fmt: skip


def whisper_model():
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(WhisperConfig(
        d_model=16, encoder_layers=4, encoder_attention_heads=4, encoder_ffn_dim=24,
        num_mel_bins=6, max_source_positions=60,
    ))  # fmt: skip


KINDS = ["hubert", "hubert-large", "wav2vec2", "data2vec-audio", "whisper"]


def encoder(kind):
    """Returns a tiny random backbone and rows of four lengths for it."""
    torch.manual_seed(0)
    name = kind.removesuffix("-large")
    model = whisper_model() if kind == "whisper" else wave_model(name, name != kind)
    backbone = make_backbone(model).eval()
    for parameter in backbone.parameters():  # larger, so that attention is not uniform
        if parameter.dim() > 1:
            parameter.data.mul_(3.0)
    scale = 2 if kind == "whisper" else 10
    lengths = [scale * n for n in (55, 23, 41, 12)]
    rows = noise(4, *([6] if kind == "whisper" else []), max(lengths), seed=4)
    for row, n in zip(rows, lengths, strict=True):
        row[..., n:] = 0
    return backbone, rows, lengths


def run(backbone, rows, lengths, config=None, **options):
    pruner = None if config is None else TokenPruner(config, backbone.depth)
    return [state for _, state in backbone(rows, lengths, pruner=pruner, **options)]


SETTINGS = [
    PruningConfig("merge", 0.5, layer=1, k_min=4),
    PruningConfig("topk_merge", 0.6, layer=1, k_min=4, schedule="constant"),
    PruningConfig("topk", 0.5, layer=0, k_min=4, score="value_received"),
    PruningConfig("fuse", 0.9, layer=1, k_min=4, schedule="linear", min_keep_rate=0.4),
    PruningConfig("stride", 0.5, layer=3, k_min=4),
    PruningConfig("merge", 0.5, layer=0, k_min=4, proportional_attention=False),
]


def every(ways):
    """Returns every way with one architecture, and every architecture with one way."""
    return [("hubert", way) for way in ways] + [(kind, ways[0]) for kind in KINDS[1:]]


@pytest.mark.parametrize(("kind", "config"), every(SETTINGS))
@torch.no_grad()
def test_a_pruned_utterance_does_not_see_its_batch_mates(kind, config):
    backbone, rows, lengths = encoder(kind)
    together = run(backbone, rows, lengths, config)
    for row, n in enumerate(lengths):
        alone = run(backbone, rows[row : row + 1, ..., :n], [n], config)
        for mine, all_rows in zip(alone, together, strict=True):
            assert all_rows.tokens.lengths[row] == mine.tokens.lengths[0]
            a, b = mine.tokens.mean(mine.hidden)[0], all_rows.tokens.mean(all_rows.hidden)[row]
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    last = together[-1].tokens
    assert all(k < n for k, n in zip(last.lengths, last.frames, strict=True) if n > 8)


@pytest.mark.parametrize(("kind", "config"), every([*SETTINGS, None]))
def test_the_packed_layout_gives_the_numbers_and_gradients_of_the_padded_one(kind, config):
    found = []
    for packed in (False, True):
        backbone, rows, lengths = encoder(kind)
        states = run(backbone, rows, lengths, config, packed=packed)
        assert [s.packing is not None for s in states][:2] == [packed] * 2
        # tokens that weigh the attention need a bias, which the packed kernel does not take
        weighs = states[-1].tokens.sizes is not None and states[-1].tokens.proportional
        assert (states[-1].packing is not None) == (packed and not weighs)
        means = torch.stack([s.tokens.mean(s.hidden) for s in states])
        means.square().sum().backward()
        gradients = [p.grad for layer in backbone.layers for p in layer.parameters()]
        found.append((means.detach(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kind", "method"), every([*METHODS]))
@torch.no_grad()
def test_keep_rate_one_is_bit_equal_to_no_pruning(kind, method):
    backbone, rows, lengths = encoder(kind)
    plain = run(backbone, rows, lengths)
    for config in (PruningConfig(method, 1.0), PruningConfig(method, 0.5, k_min=1000)):
        for a, b in zip(plain, run(backbone, rows, lengths, config), strict=True):
            assert torch.equal(a.hidden, b.hidden) and a.tokens.lengths == b.tokens.lengths


@torch.no_grad()
def test_each_layer_has_its_own_sizes():
    backbone, rows, lengths = encoder("hubert")
    states = run(backbone, rows, lengths, PruningConfig("merge", 0.5, layer=1, k_min=4))
    shapes = [state.hidden.shape[1] for state in states]
    frames = states[0].tokens.frames
    keep = keep_counts(frames, 0.5, 4)
    assert shapes == [max(frames)] * 2 + [max(keep)] * 3
    assert [s.tokens.sizes is None for s in states] == [True, True, False, False, False]
    assert all(s.tokens.expand(s.hidden).shape[1] == max(frames) for s in states)


@pytest.mark.parametrize(("kind", "method"), every([*METHODS]))
def test_gradients_reach_everything_before_and_after_pruning(kind, method):
    backbone, rows, lengths = encoder(kind)
    last = run(backbone, rows, lengths, PruningConfig(method, 0.5, layer=1, k_min=4))[-1]
    assert last.tokens.width < max(last.tokens.frames)
    last.tokens.mean(last.hidden).square().sum().backward()
    for layer in backbone.layers:
        gradients = [p.grad for p in layer.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        assert sum(g.abs().sum() for g in gradients) > 0


def test_which_architectures_can_be_pruned():
    for kind in ("hubert", "wav2vec2", "data2vec-audio", "whisper"):
        assert supports_pruning(kind) == (True, "")
    for kind, reason in (
        ("wavlm", "relative position"),
        ("wav2vec2-conformer", "convolve over neighbours"),
        ("bert", "not known to add positions"),
    ):
        possible, sentence = supports_pruning(kind)
        assert not possible and reason in sentence and kind in sentence


# --- what it saves ----------------------------------------------------------------------------


def test_flops_follow_the_closed_form_of_one_shot_pruning():
    n, d, depth, p, r = 500, 768, 12, 3, 0.7
    one, all_of = 24 * n * d**2 + 4 * n**2 * d, encoder_flops(n, width=d, depth=depth)
    assert all_of == depth * one
    config = PruningConfig("merge", r, layer=p)
    got = encoder_flops(n, width=d, depth=depth, pruning=config)
    linear, square = 24 * n * d**2, 4 * n**2 * d
    expected = (p + 1 / 3) * linear + (p + 1) * square
    expected += (2 / 3 + depth - p - 1) * r * linear + (depth - p - 1) * r**2 * square
    assert got == pytest.approx(expected)
    half = encoder_flops(n, width=d, depth=depth, layers=6)
    assert half == pytest.approx(all_of / 2)
    early = encoder_flops(n, width=d, depth=depth, pruning=config, layers=4)
    assert early == pytest.approx(3 * one + one - (1 - r) * 16 * n * d**2)


@torch.no_grad()
def test_flops_equal_what_torch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    backbone, rows, lengths = encoder("hubert")
    rows, lengths = rows[:1], lengths[:1]
    for config in (None, PruningConfig("stride", 0.5, layer=1, k_min=4)):
        # The math kernel, because the counter does not know the CPU's fused one.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            states = run(backbone, rows, lengths, config)
        frames = states[0].tokens.frames[0]
        front = frontend_flops(
            lengths[0], channels=[8, 8], kernels=[10, 3], strides=[5, 2], width=16
        )
        positions = 2 * (frames + 1) * 16 * 8 * 6  # one more frame, which is cut off again
        layers = encoder_flops(frames, width=16, depth=4, ffn=24, pruning=config)
        counts = counter.get_flop_counts()["Global"].values()
        assert sum(counts) == front + positions + layers
