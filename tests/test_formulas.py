"""What a spreadsheet would run as a formula is written as text and reads back unchanged."""

import csv
import json

import pandas as pd
import pytest

from semi.data.manifest import load_manifest, write_manifest
from semi.files import read_table, write_table
from semi.formulas import guarded, unguarded

TEXTS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "'=x",
    "''-y",
    "plain",
    "-",
    "a=b",
    "'tis",
]
TEXTS += ["-1", "+3.5", "1e5"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_guarded_cell_reads_back_and_begins_no_formula(text):
    assert unguarded(guarded(text)) == text
    number = text in ("-1", "+3.5")
    assert number or not guarded(text).startswith(("=", "+", "-", "@"))
    assert guarded(-1.5) == -1.5 and guarded(None) is None


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_manifests_and_tables_survive_a_round_trip(tmp_path, suffix):
    ids = [t for t in TEXTS if t != "-"]
    table = pd.DataFrame(
        {
            "id": ids,
            "text": ids,
            "label": ["=joy", "-sad"] * 6,
            "valence": [-1.0, 2.0] * 6,
            "=x": ids,
        }
    ).astype({"id": object, "text": object, "label": object, "=x": object})
    for write in (write_manifest, lambda t, p: write_table(p, t)):
        path = tmp_path / f"m{suffix}"
        write(table, path)
        with open(path, newline="") as file:
            rows = list(csv.reader(file, delimiter="\t" if suffix == ".tsv" else ","))
        for cell in (
            c for row in rows for c in row if not c.lstrip("+-").replace(".", "").isdigit()
        ):
            assert not cell.startswith(("=", "+", "-", "@")), cell
        again = load_manifest(path).table
        for name in ("id", "text", "label", "=x"):
            assert again[name].tolist() == table[name].tolist()
        assert again["valence"].tolist() == table["valence"].tolist()
    assert "=x" in table.columns and table["id"].tolist()[0] == "=1+1"  # the table given stays


def test_tables_of_ordinary_names_are_written_as_before(tmp_path):
    table = pd.DataFrame({"id": ["a-1", "b"], "score": [-0.5, float("nan")], "n": [-1, 2]})
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == table.to_csv(index=False)
    assert read_table(tmp_path / "t.csv")["id"].tolist() == ["a-1", "b"]


def test_jsonl_needs_no_guard(tmp_path):
    write_manifest(pd.DataFrame({"id": ["=a"], "text": ["@b"]}), tmp_path / "m.jsonl")
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"id": "=a", "text": "@b"}
