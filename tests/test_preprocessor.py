"""What a folder says of its sound's preparation is obeyed or refused; random weights, equality."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_speech import speech, tiny
from transformers import AutoFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from models.encoders import EncoderUnavailable, SpeechConfig, build_speech_encoder

QUIET = 0.01  # of full scale: there the scaling of an utterance changes every feature


def built(folder: Path, **settings):
    return build_speech_encoder(SpeechConfig(model=str(folder), **settings))


def saved(folder: Path, name: str = "hubert-base", **files: dict) -> Path:
    tiny(name).save_pretrained(folder)
    for file, content in files.items():
        (folder / f"{file}_config.json").write_text(json.dumps(content))
    return folder


def by_transformers(folder: Path, wave: np.ndarray) -> torch.Tensor:
    """The mean of the last layer, prepared by the folder's own feature extractor."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    inputs = AutoFeatureExtractor.from_pretrained(folder)(
        wave, sampling_rate=16_000, return_tensors="pt"
    )
    with torch.no_grad():
        return model(inputs.input_values).last_hidden_state.mean(1)


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "wavlm-base", "data2vec-audio"])
def test_a_processor_saved_by_transformers_is_obeyed_on_quiet_speech(name, do_normalize, tmp_path):
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2Processor

    saved(tmp_path, name)
    vocabulary = tmp_path / "vocab.json"
    vocabulary.write_text(json.dumps({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=do_normalize)
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(tmp_path)
    wave = QUIET * speech(1)[0]
    rows = built(tmp_path).encode([wave])
    torch.testing.assert_close(rows, by_transformers(tmp_path, wave), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("entry", ["feature_extractor", "audio_processor"])
def test_the_nested_entry_counts_where_both_files_speak(entry, tmp_path):
    plain, nested = {"do_normalize": False}, {entry: {"do_normalize": True}}
    assert built(saved(tmp_path / "a", processor=nested, preprocessor=plain)).model.normalize
    older = {"processor_class": "Wav2Vec2Processor"}  # not nested: what versions before 5 wrote
    assert not built(saved(tmp_path / "b", processor=older, preprocessor=plain)).model.normalize
    assert built(saved(tmp_path / "c", preprocessor={"sampling_rate": 16000})).model.normalize


def test_the_stores_key_changes_with_what_the_processor_says(tmp_path):
    said = {"feature_extractor": {"do_normalize": True}}
    silent, loud = saved(tmp_path / "a"), saved(tmp_path / "b", processor=said)
    one, other = built(silent).identity(), built(loud).identity()
    assert one["normalize"] is None and other["normalize"] == 1e-7
    assert one["sha256"] != other["sha256"]
    # and for a hub model, whose identity is a commit and not the content of its files
    assert {**one, "sha256": ""} != {**other, "sha256": ""}


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("name", ["hubert-base", "whisper", "w2v-bert"])
def test_a_model_of_another_rate_is_refused(name, nested, rate, tmp_path):
    said = {"sampling_rate": rate}
    files = {"processor": {"feature_extractor": said}} if nested else {"preprocessor": said}
    where = "processor_config" if nested else "preprocessor_config"
    with pytest.raises(
        EncoderUnavailable,
        match=rf"trained on sound of {rate} Hz \(sampling_rate in {where}\.json\), and sound is "
        r"given to encoders at 16000 Hz here; give a model of 16000 Hz",
    ):
        built(saved(tmp_path, name, **files))


def test_other_ways_to_prepare_sound_are_refused(tmp_path):
    for name, said, told in (
        ("hubert-base", {"feature_size": 2}, "sets feature_size to 2 in preprocessor"),
        ("hubert-base", {"do_normalize": "false"}, "sets do_normalize to 'false'"),
        ("hubert-base", {"normalize_epsilon": "x"}, "sets normalize_epsilon to 'x'"),
        ("hubert-base", {"feature_extractor_type": "EncodecFeatureExtractor"}, "by EncodecFeat"),
        ("whisper", {"feature_size": 128}, "sets feature_size to 128 .* only 80 is known"),
        ("whisper", {"hop_length": 80}, "sets hop_length to 80"),
        ("whisper", {"dither": 0.1}, "sets dither to 0.1"),
        ("w2v-bert", {"feature_extractor_type": "WhisperFeatureExtractor"}, "only SeamlessM4TF"),
    ):
        with pytest.raises(EncoderUnavailable, match=told):
            built(saved(tmp_path / str(len(os.listdir(tmp_path))), name, preprocessor=said))


def test_whisper_as_transformers_saves_it_is_accepted(tmp_path):
    saved(tmp_path, "whisper")
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    assert built(tmp_path).model.model_type == "whisper"


@pytest.mark.parametrize("content", ["{", "[1]", "", '{"a": ' * 5_000])
def test_a_damaged_file_is_named(content, tmp_path):
    saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(EncoderUnavailable, match=r"its preprocessor_config\.json (is not|holds)"):
        built(tmp_path)


def test_a_folder_that_says_nothing_is_told_of(tmp_path):
    from semi.features.notes import encoder_notes

    for name, word in (("hubert-base", "are not scaled"), ("hubert-large", "are scaled")):
        (note,) = encoder_notes({"speech": built(saved(tmp_path / name, name))})
        assert "does not say how its sound is prepared" in note and word in note
    said = saved(tmp_path / "c", preprocessor={"do_normalize": True})
    assert encoder_notes({"speech": built(said)}) == []
    for name in ("whisper", "w2v-bert"):  # nothing hangs on it there
        assert encoder_notes({"speech": built(saved(tmp_path / name, name))}) == []
