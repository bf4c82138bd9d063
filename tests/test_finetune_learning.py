"""What learns in an adaptation, on which vectors, at which rate, and with adapters."""

import sys

import numpy as np
import pytest
import torch
from test_text_encoder import TEXTS, folder
from tiny_models import KINDS, write_models
from tiny_speech import waves

from models.encoders import SpeechConfig, TextConfig, build_speech_encoder, build_text_encoder
from models.encoders.base import EncoderUnavailable
from models.encoders.layer_decay import layer_decay_groups
from models.encoders.trainable import TrainableSpeech, TrainableText
from models.losses.gather import gather_with_grad
from semi.config.finetune import FinetuneConfig
from semi.training.finetune.data import drawn
from semi.training.finetune.learner import pruner_at, rate_at


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


def encoder(models, name, **settings):
    return TrainableSpeech(SpeechConfig(model=str(models / name), **settings))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layers", [[], [1, 2]])
def test_it_learns_on_the_very_vectors_that_extraction_stores(models, name, layers):
    batch = waves(9_000, 16_000, 12_345)
    frozen = build_speech_encoder(SpeechConfig(model=str(models / name), layers=layers))
    learning = encoder(models, name, layers=layers)
    learning.choose("top", top=1)
    for now in (learning.train(), learning.eval()):
        torch.testing.assert_close(now(batch), frozen.encode(batch), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("combine", ["mean", "concat"])
def test_it_learns_on_the_very_text_vectors_that_extraction_stores(kind, combine, tmp_path):
    config = TextConfig(model=str(folder(kind, tmp_path)), layers=[1, 2], combine=combine)
    learning = TrainableText(config)
    learning.choose("whole")
    batch = [*TEXTS, " ".join(TEXTS * 3)]
    expected = build_text_encoder(config).encode(batch)
    torch.testing.assert_close(learning.eval()(batch), expected, atol=1e-5, rtol=1e-4)
    learning(batch).square().sum().backward()
    lacking = [n for n, p in learning.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


def learns(module):
    return {n for n, p in module.model.named_parameters() if p.requires_grad}


def test_only_the_chosen_part_learns(models):
    here = encoder(models, "hubert-base", layers=[2])
    here.choose("top", top=1)
    assert learns(here) and all(n.startswith("encoder.layers.1.") for n in learns(here))
    here = encoder(models, "hubert-base", layers=[2])
    here.choose("whole")
    assert any("feature_extractor" in n for n in learns(here))
    assert not any(n.startswith("encoder.layers.2.") for n in learns(here))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layers", [[], [2]])
def test_whatever_may_learn_gets_a_gradient(models, name, layers):
    here = encoder(models, name, layers=layers)
    here.choose("whole")
    here(waves(9_000, 16_000)).square().sum().backward()
    lacking = [n for n, p in here.model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


def test_checkpointing_changes_memory_and_not_gradients(models):
    gradients = []
    for again in (False, True):
        config = SpeechConfig(model=str(models / "whisper"))
        config.pruning.method, config.pruning.keep_rate = "merge", 0.5
        here = TrainableSpeech(config, checkpointing=again)
        here.choose("whole")
        from models.encoders.pruning import TokenPruner

        here.train()(waves(16_000, 9_600), TokenPruner(config.pruning, 3)).square().sum().backward()
        gradients.append(here.model.layers[0].fc1.weight.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients, atol=0, rtol=0)


def test_rates_fall_from_the_last_layer_to_the_front_and_norms_are_not_decayed(models):
    here = encoder(models, "hubert-base")
    here.choose("whole")
    groups = layer_decay_groups(here, here.layers, lr=1.0, decay=0.5, weight_decay=0.1)
    rate = {id(p): g for g in groups for p in g["params"]}
    layers, front = here.layers, here.model.feature_projection.projection
    assert [rate[id(k.attention.q_proj.weight)]["lr"] for k in layers] == [0.25, 0.5, 1.0]
    assert rate[id(front.weight)]["lr"] == 0.125
    assert rate[id(front.weight)]["weight_decay"] == 0.1
    assert rate[id(front.bias)]["weight_decay"] == rate[id(layers[0].layer_norm.weight)][
        "weight_decay"] == 0  # fmt: skip
    assert len(rate) == sum(p.requires_grad for p in here.parameters())


def test_learning_rate_and_keep_rate_follow_their_cosines():
    about = FinetuneConfig(steps=100, warmup=0.1, prune_start=0.2, prune_end=0.6)
    assert rate_at(0, about) < rate_at(5, about) < rate_at(10, about) == 1
    assert rate_at(55, about) == pytest.approx(0.5) and rate_at(100, about) == pytest.approx(0)
    pruning = SpeechConfig().pruning
    assert pruner_at(99, pruning, 4, about) is None
    pruning.method, pruning.keep_rate = "merge", 0.5
    assert pruner_at(20, pruning, 4, about) is None
    assert pruner_at(40, pruning, 4, about).rates == {2: pytest.approx(0.75)}
    assert pruner_at(60, pruning, 4, about).rates == {2: 0.5}


def test_every_pass_draws_each_row_once_whatever_the_cut():
    train = np.array([3, 5, 8, 9])
    whole = drawn(train, 0, 12, seed=1)
    for k in range(3):
        assert sorted(whole[4 * k : 4 * k + 4]) == [3, 5, 8, 9]
    assert drawn(train, 3, 5, seed=1).tolist() == whole[3:8].tolist()
    assert drawn(train, 0, 12, seed=2).tolist() != whole.tolist()


def test_lora_without_peft_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    here = encoder(models, "whisper")
    with pytest.raises(EncoderUnavailable, match=r"pip install 'semi-emotion\[peft\]'"):
        here.choose("lora")


@pytest.mark.extras("peft")
@pytest.mark.parametrize("name", KINDS)
def test_lora_starts_at_the_model_and_ends_as_a_plain_one(models, name, tmp_path):
    batch = waves(9_000, 16_000)
    here = encoder(models, name)
    before = here.eval()(batch).detach()
    here.choose("lora", rank=2)
    assert learns(here) and all("lora_" in n for n in learns(here))
    torch.testing.assert_close(here.eval()(batch), before)
    with torch.no_grad():
        for n, p in here.model.named_parameters():
            if "lora_B" in n:
                p.add_(0.1)
    after = here(batch).detach()
    assert (after - before).abs().max() > 1e-3
    here.save(tmp_path)
    plain = build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    torch.testing.assert_close(plain.encode(batch), after, atol=1e-5, rtol=1e-4)


def test_alone_a_gathered_tensor_is_the_tensor():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_with_grad(rows) is rows
