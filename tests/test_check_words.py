"""`semi check` says first what was understood, then what is wrong; all is well only if it is."""

import shlex

import numpy as np
import pytest
import soundfile

from semi.cli import main


def say(capsys, *words):
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def sounds(folder, rows, head, seconds=30):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * seconds).astype("float32")
    soundfile.write(folder / "long.wav", noise, 16_000)
    path = folder / "m.csv"
    path.write_text(head + "\n" + "".join(rows))
    return path


def test_segments_beyond_the_end_of_the_sound_are_not_all_well(capsys, tmp_path):
    rows = [f"c{i},long.wav,{i * 10_000},{i * 10_000 + 60},{'ab'[i % 2]}\n" for i in range(30)]
    path = sounds(tmp_path, rows, "id,audio,start,end,label")
    words = ("check", f"data.manifest={path}", "encoders.text.model=none")
    status, out, _ = say(capsys, *words)
    assert status == 0 and "all is well" not in out
    remedy = "'data.columns={start_ms: start, end_ms: end}'"
    assert (
        "warning: 29 sounds cannot be used, see below; if start and end are milliseconds, set "
        f"{remedy}\n" in out
    )
    assert out.endswith("warnings, nothing was trained\n")


def test_times_in_milliseconds_are_said_to_be(capsys, tmp_path):
    rows = [f"c{i},long.wav,{i * 1000},{i * 1000 + 900},{'ab'[i % 2]}\n" for i in range(30)]
    path = sounds(tmp_path, rows, "id,audio,start,end,label")
    words = ("check", f"data.manifest={path}", "encoders.text.model=none")
    status, out, err = say(capsys, *words)
    assert (status, out) == (2, "") and "longer than 900 s" in err
    status, out, _ = say(capsys, *words, "data.columns={start_ms: start, end_ms: end}")
    assert status == 0 and "cannot be used" not in out
    assert "\n  columns: id, audio, start (ms), end (ms), label\n" in out


@pytest.mark.parametrize("word", ["check", "train"])
def test_a_table_of_valence_alone_points_to_its_task(capsys, tmp_path, word):
    path = tmp_path / "m.csv"
    rows = [f"u{i},t {i},,{i % 5}\n" for i in range(40)]
    path.write_text("id,text,label,valence\n" + "".join(rows))
    words = (f"data.manifest={path}", "encoders.speech.model=none", f"runs_dir={tmp_path}")
    status, _, err = say(capsys, word, *words)
    assert status == 2 and err.startswith(f"read {path} (comma, utf-8): 40 of 40 rows\n")
    told = "no row has a label, but 40 have valence or arousal: add task.kind=affect\n"
    assert told in err
    if word == "check":
        remedy = err.split("valence or arousal: add ")[1].split("\n")[0]
        status, out, _ = say(capsys, word, *words, *shlex.split(remedy))
        assert status == 0 and "add task.kind=affect" not in out


def test_decimal_labels_are_learned_with_what_the_warning_says(capsys, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("id,text,label\n" + "".join(f"u{i},t {i},{i / 7:.3f}\n" for i in range(1, 90)))
    words = (f"data.manifest={path}", "encoders.speech.model=none", f"runs_dir={tmp_path}")
    _, out, err = say(capsys, "check", *words)
    remedy = (out + err).split("learn them as valence: add ")[1].split("\n")[0]
    status, out, _ = say(capsys, "check", *words, *shlex.split(remedy))
    assert status == 0 and "label -> valence" in out


def test_a_table_of_several_labels_is_not_told_to_learn_its_values(capsys, tmp_path):
    path = tmp_path / "m.csv"
    rows = [f"u{i},t {i},{'a;b' if i % 2 else 'b;c'},{i % 5}\n" for i in range(40)]
    path.write_text("id,text,label,valence\n" + "".join(rows))
    words = (f"data.manifest={path}", "encoders.speech.model=none", f"runs_dir={tmp_path}")
    status, out, err = say(capsys, "check", *words, "task.kind=multi_label")
    assert status == 0 and "no row has a label" not in out + err
    assert "40 rows with tied labels carry their votes (data.ties=votes)" in out + err
