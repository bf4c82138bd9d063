"""What `semi check` and `semi train` say of a table that is read, but should not be trusted."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from two_runs import settings, write_manifest

from semi.cli import main
from semi.errors import EncoderError
from semi.runs.check import check


def sounds(folder, bad=()):
    """Writes 40 noises of a second by 8 speakers; those in `bad` are cut to nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        length = 10 if k in bad else 16_000
        soundfile.write(folder / f"{k}.wav", 0.1 * rng.standard_normal(length), 16_000)
        rows.append({"id": f"u{k}", "audio": f"{k}.wav", "label": "ab"[k // 8 % 2],
                     "speaker": f"s{k % 8}"})  # fmt: skip
    return pd.DataFrame(rows)


def checked(folder, table, *words):
    table.to_csv(folder / "m.csv", index=False)
    base = [f"data.manifest={folder / 'm.csv'}", "encoders.text.model=none"]
    return check(None, [*base, "data.test_fraction=0", "train.folds=3", *words])


def test_all_is_well_only_where_nothing_warns(tmp_path):
    found = checked(tmp_path, sounds(tmp_path))
    assert not found.warnings and str(found).endswith("\nnothing was trained; all is well")


def test_segments_that_lie_beyond_every_sound_stop_the_check(tmp_path, capsys):
    table = sounds(tmp_path)
    table["start"], table["end"] = 60.0, 61.5
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [f"data.manifest={tmp_path / 'm.csv'}", "encoders.text.model=none"]
    assert main(["check", *words]) != 0
    out, err = capsys.readouterr()
    assert "labelled training rows can be used: all of their sounds are refused" in err
    assert "all is well" not in out + err
    table["text"] = "said"  # with a text there is something to go by
    found = checked(tmp_path, table, "encoders.text.model=char-ngram")
    told = "; if start and end are milliseconds, set 'data.columns={start_ms: start, end_ms: end}'"
    assert f"warning: 40 sounds cannot be used, see below{told}" in found.warnings
    assert not any("rows without anything" in told for told in found.warnings)


def test_some_unusable_sounds_are_counted_by_side(tmp_path):
    table = sounds(tmp_path, bad=(0, 1, 2))
    table.loc[2, "label"] = None
    found = checked(tmp_path, table)
    told = str(found)
    assert "warning: rows without anything to go by: 2 labeled, 1 pool" in told
    assert told.count("\n  ") >= 3 and "0.wav: too short" in told.replace(str(tmp_path) + "/", "")
    assert told.endswith(f"{len(found.warnings)} warnings, nothing was trained")
    silent = checked(tmp_path, table.assign(text="said"), "encoders.speech.model=none",
                     "encoders.text.model=char-ngram")  # fmt: skip
    assert not any("sound" in told for told in silent.warnings)


@pytest.mark.parametrize("change", [
    lambda t: t.assign(label=["ab"[k % 8 % 2] for k in range(40)]),  # a label a speaker
    lambda t: t.assign(split=["test" if k % 8 == 7 else "train" for k in range(40)],
                       label=["c" if k % 8 == 7 else "ab"[k // 8 % 2] for k in range(40)]),
    lambda t: t[:18],  # few labels
    lambda t: t.assign(label=[f"{0.1 + k / 7:.3f}" for k in range(40)]),  # scores
    lambda t: t.assign(label=["ab"[k // 8 % 2] if k else "A" for k in range(40)]),  # case
    lambda t: t.assign(label=["c" if k in (3, 11) else "ab"[k // 8 % 2] for k in range(40)]),
])  # fmt: skip
def test_what_should_not_be_trusted_is_a_warning(tmp_path, change):
    found = checked(tmp_path, change(sounds(tmp_path)))
    assert found.warnings
    count = "1 warning" if len(found.warnings) == 1 else f"{len(found.warnings)} warnings"
    assert str(found).endswith(f"\n{count}, nothing was trained")


def test_training_tells_its_warnings_and_so_does_the_report(tmp_path, capsys):
    write_manifest(tmp_path)
    table = pd.read_csv(tmp_path / "m.csv")
    table["label"] = [["anger", "calm", "joy"][int(s[1]) % 3] for s in table["speaker"]]
    table.to_csv(tmp_path / "m.csv", index=False)
    config = settings(tmp_path, "told")
    words = [f"runs_dir={config.runs_dir}", f"data.manifest={config.data.manifest}", "name=told",
             "encoders.speech.model=none", f"features.store={config.features.store}",
             "recipe=auto", "train.folds=2", "rounds.max_rounds=1",
             "tracking=false", "threads=1"]  # fmt: skip
    assert main(["train", *words]) == 0
    out = capsys.readouterr().out
    assert "Caution: the speaker gives the label away: the other rows of its speaker tell" in out
    notes = json.loads((tmp_path / "runs" / "told" / "result.json").read_text())["notes"]
    assert any(note.startswith("warning: the speaker gives the label away") for note in notes)
    report = (tmp_path / "runs" / "told" / "report.html").read_text()
    assert "speaker gives the label away" in report


def arrays_check(folder, ids):
    np.savez(folder / "a.npz", id=np.array(ids), speech=np.ones((len(ids), 4), np.float32))
    words = ("encoders.speech.model=precomputed", f"encoders.speech.path={folder / 'a.npz'}")
    return checked(folder, sounds(folder), *words)


def test_rows_without_an_array_are_counted_and_a_file_of_other_ids_is_refused(tmp_path):
    found = arrays_check(tmp_path, [f"u{k}" for k in range(37)])
    assert "warning: 3 rows of 40 without an array of speech" in found.warnings
    with pytest.raises(EncoderError, match=r"speech: no id of the table is among those of .*a.npz"):
        arrays_check(tmp_path, ["x", "y"])


def test_a_damaged_file_of_arrays_stops_the_check(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK nothing that unpacks")
    words = ("encoders.speech.model=precomputed", f"encoders.speech.path={tmp_path / 'a.npz'}")
    with pytest.raises(EncoderError, match=r"a\.npz cannot be read .*write or download it again"):
        checked(tmp_path, sounds(tmp_path), *words)


def test_no_sentence_of_a_check_prints_a_cell_of_hundreds_of_letters(tmp_path, capsys):
    long = "Z" * 700
    rows = [(f"u{i}", f"t {i}", "ab"[i % 2] + long, f"{long}{i % 5}") for i in range(40)]
    table = pd.DataFrame(rows, columns=pd.Index(["id", "text", "label", "speaker"]))
    for label in (table["label"], ["a" + long] * 40, ["a" + long] * 39 + ["b" + long]):
        table.assign(label=label).to_csv(tmp_path / "m.csv", index=False)
        main(["check", f"data.manifest={tmp_path / 'm.csv'}", "encoders.speech.model=none"])
        out, err = capsys.readouterr()
        assert "ZZZ" in out + err and "Z" * 200 not in out + err


def test_one_labelled_row_without_a_speaker_cannot_be_held_out(tmp_path, capsys):
    (tmp_path / "m.csv").write_text("id,text,label\na,x,joy\n")
    assert main(["check", f"data.manifest={tmp_path / 'm.csv'}", "encoders.speech.model=none"]) == 2
    told = "1 labelled row cannot stand on both sides; label more rows, or set data.test_fraction=0"
    assert told in capsys.readouterr().err
