"""Long recordings are labelled window by window, each as the same part of the file would be."""

import numpy as np
import pandas as pd
import pytest
from speech_files import half, save, speech
from speech_model import speech_model

from semi.cli import main
from semi.errors import ManifestError, SemiError
from semi.runs.predict import load, predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return speech_model(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def model(run):
    return load(run)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return save(tmp_path_factory.mktemp("call") / "call.flac", speech(12))


def places(answers):
    return list(zip(answers["start"], answers["end"], strict=True))


def test_windows_start_every_hop_and_the_last_takes_the_rest(model, recording):
    answers = model.predict_windows(recording, seconds=5, hop=2.5)
    assert places(answers) == [(0, 5), (2.5, 7.5), (5, 10), (7.5, 12)]
    assert set(answers["path"]) == {str(recording)} and answers["label"].notna().all()
    columns = list(answers.columns)
    assert columns[:5] == ["path", "start", "end", "label", "confidence"]
    assert columns[3:] == list(model.predict([recording]).columns)[1:]


@pytest.mark.parametrize(
    ("length", "seconds", "hop", "expected"),
    [
        (12.0, 5, 5, [(0, 5), (5, 10), (10, 12)]),
        (10.0, 5, 5, [(0, 5), (5, 10)]),
        (10.05, 5, 5, [(0, 5), (5, 10)]),  # a rest of less than data.min_seconds
        (10.2, 5, 5, [(0, 5), (5, 10), (10, 10.2)]),
        (3.0, 5, 2.5, [(0, 3)]),
        (5.0, 5, 2.5, [(0, 5)]),
        (12.0, 2, 5, [(0, 2), (5, 7), (10, 12)]),
        (11.0, 2, 5, [(0, 2), (5, 7), (10, 11)]),
        (9.0, 2, 5, [(0, 2), (5, 7)]),
        (6.0, 5, None, [(0, 5), (2.5, 6)]),
    ],
)
def test_the_ends_of_recordings(model, length, seconds, hop, expected):
    answers = model.predict_windows((speech(length), 16_000), seconds=seconds, hop=hop)
    assert places(answers) == expected


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100])
def test_a_window_has_the_numbers_of_that_part_of_the_file(model, tmp_path, rate):
    stereo = np.stack([np.resize(speech(8), 8 * rate), np.zeros(8 * rate)], 1)
    path = save(tmp_path / "a.wav", stereo, rate)
    answers = model.predict_windows(path, seconds=3, hop=1.1)
    table = pd.DataFrame({"id": [str(k) for k in range(len(answers))], "audio": str(path)})
    table["start"], table["end"] = answers["start"], answers["end"]
    parts = model.predict(table)
    for name in parts.columns[1:]:
        pd.testing.assert_series_equal(answers[name], parts[name])


def test_arrays_and_several_recordings_at_once(model, recording):
    wave = speech(6)
    both = model.predict_windows([recording, (wave, 16_000)], seconds=5, hop=5)
    assert both["path"].tolist() == [str(recording)] * 3 + ["sound 2"] * 2
    alone = model.predict_windows((wave, 16_000), seconds=5, hop=5)
    assert both["confidence"].tolist()[3:] == pytest.approx(alone["confidence"].tolist())


def test_a_silent_window_has_no_label_and_the_others_have(model):
    wave = np.concatenate([speech(4), np.zeros(64_000, np.float32), speech(4)])
    answers = model.predict_windows((wave, 16_000), seconds=4, hop=4)
    assert answers["label"].isna().tolist() == [False, True, False]
    assert answers["note"][1].startswith("silent: ")


def test_a_recording_that_cannot_be_read_keeps_its_row(model, recording, tmp_path):
    cut = half(recording)
    (tmp_path / "text.wav").write_text("this is no sound")
    answers = model.predict_windows([cut, tmp_path / "text.wav", recording], seconds=5, hop=5)
    lost = answers[answers["start"].isna()]
    assert lost["path"].tolist() == [str(cut), str(tmp_path / "text.wav")]
    assert lost["label"].isna().all() and lost["note"].str.startswith("unreadable: ").all()
    assert answers["path"].tolist()[-3:] == [str(recording)] * 3


def test_windows_go_beyond_the_longest_utterance(model):
    longest = model.model.config.data.max_seconds
    answers = model.predict_windows((speech(longest + 31), 16_000), seconds=30, hop=30)
    assert answers["end"].max() == longest + 31 and answers["label"].notna().all()


def test_the_command_writes_the_table_and_prints_lines(run, recording, tmp_path, capsys):
    out = tmp_path / "turns.csv"
    words = ["predict", str(run), str(recording), "--windows", "5", "--hop", "2.5"]
    assert main([*words, "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}: 4 windows\n" and "windows: 12 s of sound" in told.err
    table = pd.read_csv(out)
    assert list(table.columns)[:5] == ["path", "start", "end", "label", "confidence"]
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{recording} 0-5 s  {table['label'][0]} ")


def test_sentences_about_windows(run, model, recording):
    file = [str(recording)]
    cases = [
        ({"audio": file, "texts": ["so"], "windows": 5.0}, "--windows takes audio files alone"),
        ({"audio": file, "hop": 5.0}, "--hop goes with --windows: semi predict RUN a.wav"),
        ({"audio": file, "windows": 0.0}, "windows must be 0.1 to 120 s long"),
        ({"audio": file, "windows": 500.0}, "windows must be 0.1 to 120 s long"),
        ({"audio": file, "windows": 5.0, "hop": 0.0}, "the hop from window to window must be "),
        ({"audio": file, "windows": float("nan")}, "windows must be 0.1 to 120 s long"),
        ({"audio": ["no.wav"], "windows": 5.0}, "no such audio file: no.wav"),
        ({"windows": 5.0}, "windows need a recording: give one or more files, or arrays"),
    ]
    for words, told in cases:
        with pytest.raises(SemiError) as caught:
            predict(run, **words)
        assert str(caught.value).startswith(told)
    with pytest.raises(ManifestError, match="sound 2 of 2: an array without its rate"):
        model.predict_windows([recording, np.zeros(9)])
