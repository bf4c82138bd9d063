"""Names of encoders: what is nearly a built-in one is not looked for on the hub."""

from __future__ import annotations

import pytest

from models.encoders import (
    EncoderUnavailable,
    SpeechConfig,
    TextConfig,
    build_speech_encoder,
    build_text_encoder,
)
from semi.cli import main


@pytest.fixture
def no_hub(monkeypatch):
    import huggingface_hub

    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("acoustc", "acoustic"), ("acustic", "acoustic"), ("Acoustic", "acoustic"),
        ("accoustic", "acoustic"), ("acoustics", "acoustic"), ("egemap", "egemaps"),
        ("eGeMAPS", "egemaps"), ("pre-computed", "precomputed"), ("precomputet", "precomputed"),
        ("None", "none"), ("non", "none"), ("NONE", "none"),
    ],
)  # fmt: skip
def test_a_misspelt_speech_encoder_is_told_its_name(given, meant, no_hub):
    with pytest.raises(EncoderUnavailable) as told:
        build_speech_encoder(SpeechConfig(model=given))
    assert f"encoders.speech.model={given} is not the name" in str(told.value)
    assert f"did you mean {meant}?" in str(told.value)


@pytest.mark.parametrize("given", ["char_ngram", "charngram", "chargram", "Char-NGram"])
def test_a_misspelt_text_encoder_is_told_its_name(given, no_hub):
    with pytest.raises(EncoderUnavailable, match=r"did you mean char-ngram\?"):
        build_text_encoder(TextConfig(model=given))


def test_an_encoder_of_the_other_modality_is_told_where_it_belongs(no_hub):
    with pytest.raises(EncoderUnavailable, match=r"acoustic reads speech, so .* encoders\.speech"):
        build_text_encoder(TextConfig(model="acoustic"))
    with pytest.raises(EncoderUnavailable, match=r"char-ngram reads text, so .* encoders\.text"):
        build_speech_encoder(SpeechConfig(model="char-ngram"))


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "roberta-base", "gpt2", "xlm-roberta-base", "nomic", "me/acoustc"]
)
def test_names_of_the_hub_are_looked_for_there(name, no_hub):
    with pytest.raises(EncoderUnavailable, match="the hub was asked"):
        build_text_encoder(TextConfig(model=name))
    with pytest.raises(EncoderUnavailable, match="the hub was asked"):
        build_speech_encoder(SpeechConfig(model=name))


def test_check_says_so_and_all_is_not_well(small_corpus, capsys):
    words = [f"data.manifest={small_corpus / 'manifest.csv'}", "data.allow_leaks=[text]"]
    assert main(["check", *words, "encoders.speech.model=acoustc"]) == 2
    out, err = capsys.readouterr()
    assert "did you mean acoustic?" in err and err.count("\n") == 1
    assert "all is well" not in out
    assert main(["check", *words, "encoders.speech.model=me/acoustc"]) == 0  # it may be there
