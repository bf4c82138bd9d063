"""`encoders.speech.pruning.method=auto`: the measured best, which is none, told in a sentence."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch
from tiny_speech import encoder, speech, tiny, waves

from models.encoders import PruningConfig, SpeechConfig, build_speech_encoder
from models.encoders.pruning import layer_rates, pruning_identity
from semi.config.finetune import FinetuneConfig
from semi.config.schema import load_config
from semi.data.corpora import bundled_emodb
from semi.errors import ConfigError
from semi.evaluation.text import extraction_words
from semi.experiments.pruning.report import prune_report
from semi.experiments.pruning.settings import settings
from semi.features.extract import extract
from semi.runs.check import check
from semi.self_training.prepare import load_dataset
from semi.training.finetune.learner import pruner_at

AUTO = PruningConfig(method="auto")
TOLD = re.compile(r"encoders\.speech\.pruning\.method=auto: off, every token is kept, .* sound$")


@pytest.mark.parametrize("name", ["whisper", "hubert-base", "wavlm-base", "w2v-bert"])
def test_auto_keeps_every_token_of_every_encoder_and_says_so(name):
    model, batch = tiny(name), [*speech(2), *waves(16_000)]
    plain, auto = encoder(model), encoder(model, pruning=AUTO)
    assert torch.equal(auto.encode(batch), plain.encode(batch))
    (note,) = auto.notes
    assert TOLD.match(note)
    assert not plain.notes and not encoder(model, pruning=PruningConfig()).notes
    if name in ("whisper", "hubert-base"):
        assert not encoder(model, pruning=PruningConfig("merge")).notes


def test_a_row_has_the_same_vector_alone_and_beside_longer_ones():
    model, batch = tiny("whisper"), [*speech(3), *waves(160_000)]
    auto = encoder(model, pruning=AUTO, layout="padded")
    together = auto.encode(batch)
    for row, wave in zip(together, batch, strict=True):
        torch.testing.assert_close(auto.encode([wave])[0], row, atol=1e-5, rtol=0)


def test_the_identity_is_of_what_auto_came_to_and_not_of_the_word():
    model = tiny("hubert-base")
    plain, auto = encoder(model), encoder(model, pruning=AUTO)
    assert auto.identity() == plain.identity()
    assert auto.identity() != encoder(model, pruning=PruningConfig("merge", k_min=4)).identity()
    for given in ({"keep_rate": 0.3}, {"layer": 99}, {"schedule": "constant"}, {"k_min": 1}):
        config = PruningConfig("auto", **given)  # kept as given, read by a method alone
        assert not config.active and not layer_rates(config, 3)
        assert pruning_identity(config, 3) is None
        assert all(getattr(config, key) == value for key, value in given.items())


def test_reversed_speech_tells_it_too(tmp_path):
    tiny("whisper").save_pretrained(tmp_path)
    config = SpeechConfig(model=str(tmp_path), reverse=True, pruning=AUTO)
    (note,) = build_speech_encoder(config).notes
    assert TOLD.match(note)


def test_the_store_of_none_is_that_of_auto_and_each_command_tells_it_once(tmp_path, capsys):
    tiny("whisper").save_pretrained(tmp_path / "model")
    table = pd.read_csv(bundled_emodb(), dtype=str).iloc[:6]
    table["audio"] = [str(bundled_emodb().parent / file) for file in table["audio"]]
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [f"data.manifest={tmp_path / 'm.csv'}", f"features.store={tmp_path / 'store'}",
             f"encoders.speech.model={tmp_path / 'model'}", "encoders.text.model=none"]  # fmt: skip

    def said(*more):
        return extraction_words(extract(load_config(None, [*words, *more]), progress=False))

    method = "encoders.speech.pruning.method="
    assert said()[0] == "speech: 6 encoded, 0 in the store already"
    first, *others = said(method + "auto")
    assert first == "speech: 0 encoded, 6 in the store already"
    assert sum(bool(TOLD.match(line)) for line in others) == 1
    assert said(method + "merge", "encoders.speech.pruning.k_min=4")[0].startswith("speech: 6 enc")
    assert not any(TOLD.match(line) for line in said())
    given = [*words, method + "auto", "data.allow_leaks=[speaker]", "train.folds=2"]
    checked = check(None, given)
    assert sum(bool(TOLD.match(note)) for note in checked.notes) == 1
    capsys.readouterr()
    for shown in (True, False):  # what `semi train` prints as it reads, and puts into its report
        ready = load_dataset(load_config(None, given), progress=shown)
        lines = capsys.readouterr().err.splitlines()
        assert sum(bool(TOLD.match(line)) for line in lines) == shown
        assert sum(bool(TOLD.match(note)) for note in ready.notes) == 1


@pytest.mark.parametrize("word", ["aut", "Auto", "automatic", "best", "", "AUTO", "none,auto"])
def test_another_word_is_refused_with_all_that_are_known(word):
    known = "none, auto, merge, topk_merge, topk, fuse, stride"
    with pytest.raises(ValueError, match=f"^method must be one of {known}, got {word!r}"):
        PruningConfig(method=word)
    sentence = f"encoders.speech.pruning.method must be one of {known}, got '{word}'"
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        load_config(None, ["data.manifest=m.csv", f"encoders.speech.pruning.method='{word}'"])


def test_the_section_is_no_word_and_the_sentence_names_its_key():
    with pytest.raises(ConfigError, match=r"encoders\.speech\.pruning: is a section; set .*method"):
        load_config(None, ["data.manifest=m.csv", "encoders.speech.pruning=auto"])


def test_finetuning_drops_nothing_and_the_report_compares_as_without_it():
    assert pruner_at(99, AUTO, 4, FinetuneConfig(steps=100)) is None
    base = {"methods": ["merge"], "keep_rates": [0.5], "layers": []}
    auto = settings(SpeechConfig(pruning=AUTO), 6, **base)
    plain = settings(SpeechConfig(), 6, **base)
    assert [s.name for s in auto] == [s.name for s in plain]
    assert [s.config for s in auto] == [s.config for s in plain]
    with pytest.raises(ConfigError, match=r"^methods may be merge, .*, got 'auto'"):
        prune_report(load_config(None, ["data.manifest=m.csv"]), methods=["auto"])
