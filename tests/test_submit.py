"""Submissions: every row once, in order, readable or not."""

import pandas as pd
import pytest
from two_runs import WORDS

import semi
from semi.cli import main
from semi.runs.submit import submit


def test_the_test_rows_of_the_run_are_submitted_in_order(runs, tmp_path):
    done = submit(runs[1], tmp_path / "s.csv")
    table = pd.read_csv(tmp_path / "s.csv")
    splits = pd.read_csv(f"{runs[1]}/splits.csv")
    assert list(table.columns) == ["name", "discrete"]
    held = set(splits["id"][splits["role"] == "test"])
    assert list(table["name"]) == [f"u{k}" for k in range(90) if f"u{k}" in held]
    assert done.rows == len(table) and not done.guessed
    right = semi.evaluate(runs[1]).metrics["accuracy"]
    label = {f"u{k}": list(WORDS)[k % 3] for k in range(90)}
    assert (table["discrete"] == table["name"].map(label)).mean() == pytest.approx(right)


def test_a_manifest_is_labelled_whole_and_lost_rows_are_named(runs, tmp_path, capsys):
    (tmp_path / "x.wav").write_bytes(b"sound that a model of texts does not read")
    given = pd.DataFrame(
        {
            "id": ["z", "m", "a", "k"],
            "text": ["hurra toll", "", "nein zorn", " "],
            "audio": ["", "x.wav", "", "x.wav"],
        }
    )
    given.to_csv(tmp_path / "m.csv", index=False)
    out = tmp_path / "s.csv"
    words = ["submit", runs[1], "--manifest", str(tmp_path / "m.csv"), "-o", str(out)]
    assert main(words) == 0
    table = pd.read_csv(out)
    assert list(table["name"]) == ["z", "m", "a", "k"]
    assert table["discrete"].isin(list(WORDS)).all()
    told = capsys.readouterr().out
    assert "2 of them cannot be read" in told and "\n  m: " in told and "\n  k: " in told
    oof = semi.evaluate(runs[1], "oof").metrics
    largest = oof["classes"][max(range(3), key=lambda k: oof["support"][k])]
    assert set(table["discrete"][table["name"].isin(["m", "k"])]) == {largest}
