"""Encoders on the pretend GPU: the CPU's numbers, and one wait of the host for a batch."""

import copy

import pytest
import torch
import transformers
from pretend_gpu import pretend_gpu
from test_text_encoder import KINDS, TEXTS, folder
from tiny_speech import NAMES, tiny, waves

from models.encoders import PruningConfig, SpeechConfig, TextConfig, build_text_encoder
from models.encoders.attention_masks import masks_unasked
from models.encoders.merging import METHODS
from models.encoders.speech import SpeechEncoder
from models.encoders.speech_models import describe
from models.encoders.trainable import TrainableText
from models.encoders.transport import as_pcm

FEW = {"layers": [1, 3], "combine": "views", "pooling": "mean_std"}
ONE_WAIT = 1 if int(transformers.__version__.split(".")[0]) >= 5 else 2  # 4 looks in other places


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


@pytest.mark.parametrize("texts", [TEXTS, ["glad", "mat"]], ids=["padded", "of one length"])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_have_the_numbers_of_the_cpu_and_one_wait(kind, texts, tmp_path):
    want, got, work = of_texts(texts, model=str(folder(kind, tmp_path)), pooling="mean_std")
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
    assert sum(work.waits.values()) <= ONE_WAIT, work.table()


@pytest.mark.parametrize("pooling", ["cls", "frames"])
def test_texts_in_every_pooling_have_the_numbers_of_the_cpu_and_one_wait(pooling, tmp_path):
    want, got, work = of_texts(TEXTS, model=str(folder("bert", tmp_path)), pooling=pooling)
    for one, other in zip(want, got, strict=True):
        torch.testing.assert_close(other, one, atol=2e-6, rtol=0)
    assert sum(work.waits.values()) <= ONE_WAIT, work.table()


def of_texts(texts, **settings):
    """Returns what CPU and pretend GPU give for texts, and what the batch made the GPU do."""
    config = TextConfig(layers=[0, 2], **settings)
    ask = "encode_frames" if config.pooling == "frames" else "encode"
    want = getattr(build_text_encoder(config), ask)(texts)
    with pretend_gpu() as work:
        on_gpu = build_text_encoder(config, device="cuda")
        on_gpu.model.to("cuda")
        work.waits.clear()
        got = getattr(on_gpu, ask)(texts)
    return want, got, work


@pytest.mark.skipif(ONE_WAIT > 1, reason="transformers 4: the models look themselves")
@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_a_step_of_a_learning_text_encoder_has_no_wait(kind, tmp_path):
    config = TextConfig(model=str(folder(kind, tmp_path)), layers=[1, 2])
    with pretend_gpu() as work:
        learning = TrainableText(config).to("cuda")
        learning.choose("whole")
        work.waits.clear()
        learning.vectors(TEXTS).square().sum().backward()
        assert not work.waits, work.table()


def test_transformers_own_masks_are_as_before_when_a_batch_is_done():
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as makers

    before = dict(makers)
    gpu = torch.device("cuda")
    with masks_unasked(torch.device("cpu")):
        assert dict(makers) == before
    with pytest.raises(KeyError), masks_unasked(gpu):
        within = dict(makers)
        assert within != before
        with masks_unasked(gpu):
            assert dict(makers) == within
        assert dict(makers) == within
        raise KeyError
    assert dict(makers) == before
