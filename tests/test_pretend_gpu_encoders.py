"""Encoders on the pretend GPU: the CPU's numbers, and one wait of the host for a batch."""

import copy

import pytest
import torch
from pretend_gpu import pretend_gpu
from test_text_encoder import TEXTS, folder
from tiny_speech import NAMES, tiny, waves

from models.encoders import PruningConfig, SpeechConfig, TextConfig, build_text_encoder
from models.encoders.merging import METHODS
from models.encoders.speech import SpeechEncoder
from models.encoders.speech_models import describe
from models.encoders.transport import as_pcm

FEW = {"layers": [1, 3], "combine": "views", "pooling": "mean_std"}


def encoder(model, device, precision="fp32", **settings):
    """Returns an encoder round a copy of a model."""
    about = describe(model.config, load=lambda: copy.deepcopy(model), identity={})
    config = SpeechConfig(model="tiny", **settings)
    return SpeechEncoder(about, config, device=device, precision=precision)


def both(model, sounds, ask=lambda e, x: e.encode(x), **settings):
    """Returns what CPU and pretend GPU give for sounds, and what a second batch made it do."""
    want = ask(encoder(model, "cpu", **settings), sounds)
    with pretend_gpu() as work:
        on_gpu = encoder(model, "cuda", **settings)
        on_gpu.backbone.to("cuda")  # weights are read and moved beforehand
        work.waits.clear()
        work.launches.clear()
        got = ask(on_gpu, sounds)
    return want, got, work


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("name", NAMES)
def test_a_padded_batch_has_the_numbers_of_the_cpu_and_one_wait(name, layout):
    want, got, work = both(tiny(name), waves(9000, 16000, 5000), layout=layout, **FEW)
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
    assert sum(work.waits.values()) == 1, work.table()


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("method", METHODS)
def test_every_pruning_method_has_the_numbers_of_the_cpu_and_one_wait(method, layout):
    for score in ("received", "value_received"):
        pruning = PruningConfig(method, 0.5, layer=1, k_min=4, score=score)
        sounds = waves(9000, 16000, 5000)
        want, got, work = both(tiny("hubert-base"), sounds, layout=layout, pruning=pruning, **FEW)
        torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
        assert sum(work.waits.values()) == 1, work.table()


def test_long_quiet_and_16_bit_sounds_are_uploaded_without_a_wait():
    sounds = [*waves(40_000, 700), *(as_pcm((w * 32768).round() / 32768) for w in waves(9000))]
    want, got, work = both(tiny("hubert-large"), sounds, layout="padded", chunk_seconds=1.0, **FEW)
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
    assert sum(work.waits.values()) == 1, work.table()


def test_frames_come_back_in_one_copy():
    model = tiny("whisper")
    want, got, work = both(
        model, waves(9000, 16000, 5000), lambda e, x: e.encode_frames(x), pooling="frames",
        layout="padded",
    )  # fmt: skip
    for one, other in zip(want, got, strict=True):
        torch.testing.assert_close(other, one, atol=2e-6, rtol=0)
    assert sum(work.waits.values()) == 1, work.table()


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("pooling", ["mean_std", "cls", "frames"])
def test_texts_have_the_numbers_of_the_cpu(kind, pooling, tmp_path):
    config = TextConfig(model=str(folder(kind, tmp_path)), layers=[0, 2], pooling=pooling)
    ask = "encode_frames" if pooling == "frames" else "encode"
    want = getattr(build_text_encoder(config), ask)(TEXTS)
    with pretend_gpu() as work:
        on_gpu = build_text_encoder(config, device="cuda")
        on_gpu.model.to("cuda")
        work.waits.clear()
        got = getattr(on_gpu, ask)(TEXTS)
    for one, other in zip(want, got, strict=True):
        torch.testing.assert_close(other, one, atol=2e-6, rtol=0)
    # the second wait is transformers' own: it looks whether a batch is padded at all
    assert sum(n for (_, at), n in work.waits.items() if " _run" not in at) == 1, work.table()
    assert sum(work.waits.values()) <= 2, work.table()
