"""Sounds in memory are labelled as the same sounds in files are, number for number."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from speech_files import save, speech
from speech_model import speech_model

from semi.errors import ManifestError
from semi.runs.predict import load


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return speech_model(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def model(run):
    return load(run)


@pytest.fixture(scope="module")
def wave():
    return (speech(2) * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def path(wave, tmp_path_factory):
    return save(tmp_path_factory.mktemp("sound") / "a.wav", wave)


@pytest.fixture(scope="module")
def expected(model, path):
    return model.predict([path])


def same(answers, expected):
    left, right = (t.drop(columns="id") for t in (answers, expected))
    pd.testing.assert_frame_equal(left, right, check_exact=True)


FORMS = {
    "array and rate": lambda w, p: (w, 16_000),
    "rate and array, as scipy reads": lambda w, p: (16_000, w),
    "dict of datasets": lambda w, p: {"array": w / 32768, "sampling_rate": 16_000, "path": None},
    "dict of transformers": lambda w, p: {"raw": w / 32768, "sampling_rate": 16_000},
    "dict of bytes": lambda w, p: {"bytes": p.read_bytes(), "path": "x.wav"},
    "dict of a path": lambda w, p: {"bytes": None, "path": str(p)},
    "bytes": lambda w, p: p.read_bytes(),
    "BytesIO": lambda w, p: io.BytesIO(p.read_bytes()),
    "float64": lambda w, p: (w / 32768, 16_000),
    "float32": lambda w, p: ((w / 32768).astype(np.float32), 16_000.0),
    "int32": lambda w, p: (w.astype(np.int32) << 16, 16_000),
    "integers as floats": lambda w, p: (w.astype(np.float32), 16_000),
    "torch": lambda w, p: (torch.from_numpy(w) / 32768, 16_000),
    "torch, channels first": lambda w, p: (torch.from_numpy(w)[None] / 32768, 16_000),
    "two channels last": lambda w, p: (np.stack([w, w], 1), 16_000),
    "two channels first": lambda w, p: (np.stack([w, w]), 16_000),
    "list of numbers": lambda w, p: {"array": (w / 32768).tolist(), "sampling_rate": 16_000},
    "torchcodec": lambda w, p: SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(
            data=torch.from_numpy(w)[None] / 32768, sample_rate=16_000
        )
    ),
    "not contiguous": lambda w, p: (np.repeat(w, 2)[::2], 16_000),
    "read-only": lambda w, p: (np.frombuffer(w.tobytes(), np.int16), 16_000),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_numbers_of_the_file(model, wave, path, expected, form):
    same(model.predict([FORMS[form](wave, path)]), expected)
    same(model.predict(FORMS[form](wave, path)), expected)  # one sound needs no list


def test_an_open_file_is_read_from_where_it_stands(model, path, expected):
    with path.open("rb") as file:
        answers = model.predict([file])
    same(answers, expected)
    assert answers["id"].tolist() == [str(path)]


def test_another_rate_is_resampled_as_in_a_file(model, tmp_path):
    high = np.repeat(speech(2), 3)
    path = save(tmp_path / "a.wav", high, 48_000, subtype="FLOAT")
    same(model.predict([(high, 48_000)]), model.predict([path]))
    stereo = np.stack([high, 0.3 * high], 1)
    path = save(tmp_path / "b.flac", stereo, 48_000)
    read, rate = soundfile.read(path, dtype="int16")
    same(model.predict([(read, rate)]), model.predict([path]))


def test_forms_are_mixed_with_paths_and_texts_and_named(model, wave, path):
    answers = model.predict(
        [path, (wave, 16_000), None, {"bytes": path.read_bytes(), "path": "b.wav"}],
        texts=[None, "so", "ja", None],
    )
    assert answers["id"].tolist() == [str(path), "sound 2", "text 3", "b.wav"]
    assert answers["label"].notna().tolist()[:2] == [True, True]


def test_a_column_of_dicts_is_read_as_datasets_hands_it_out(model, wave, path, expected):
    dicts = [{"bytes": path.read_bytes(), "path": "a.wav"}, None]
    table = pd.DataFrame({"id": ["u", "v"], "audio": dicts, "text": [None, "ja"]})
    answers = model.predict(table)
    assert answers["confidence"][0] == pytest.approx(expected["confidence"][0], abs=1e-6)
    assert answers["id"].tolist() == ["u", "v"]


def test_what_cannot_be_used_has_no_label_and_says_why(model, wave):
    broken = wave / 32768
    broken[100] = np.nan
    answers = model.predict([(broken, 16_000), (0 * wave, 16_000), (wave[:80], 16_000), b"RIFF..."])
    assert answers["label"].isna().all()
    assert [note.split(":")[0] for note in answers["note"]] == [
        "not finite", "silent", "too short", "unreadable",
    ]  # fmt: skip
    assert "sample 100 (at 0.006 s)" in answers["note"][0]


@pytest.mark.parametrize(
    ("sounds", "told"),
    [
        (["a.wav", np.zeros(9)], "sound 2 of 2: an array without its rate; give a path, (array, "),
        (np.zeros(16_000), "sound 1 of 1: an array without its rate; "),
        ([(np.zeros((9, 9, 9)), 16_000)], "sound 1 of 1: the samples have shape (9, 9, 9); give "),
        ([(np.zeros((200, 300)), 16_000)], "sound 1 of 1: the samples have shape (200, 300): ne"),
        ([(np.zeros(9), 3)], "sound 1 of 1: the rate must be a number of samples a second, got "),
        ([(np.zeros(9), "16k")], "sound 1 of 1: the rate must be a number of samples a second, "),
        ([{"array": np.zeros(9)}], "sound 1 of 1: the rate must be a number of samples a second, "),
        ([{"audio": 1}], "sound 1 of 1: a dict of audio lacks 'array' with 'sampling_rate', "),
        ([(np.zeros(9, np.int64), 16_000)], "sound 1 of 1: samples of int64 have no full scale; "),
        ([(np.zeros(9, complex), 16_000)], "sound 1 of 1: samples of complex128 have no full"),
        ([(["a", "b"], 16_000)], "sound 1 of 1: samples of <U1 have no full scale"),
        ([io.StringIO("x")], "sound 1 of 1: the file object gives text; open it in binary mode"),
        ([7], "sound 1 of 1: a int is no sound; "),
    ],
)  # fmt: skip
def test_sentences_about_what_is_no_sound(model, sounds, told):
    with pytest.raises(ManifestError) as caught:
        model.predict(sounds)
    assert str(caught.value).startswith(told)
