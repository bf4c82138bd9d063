"""A long table is labelled part by part: the answers of the whole, and never more rows at once."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from two_runs import scaled_runs

import semi
from semi.cli import main
from semi.features import store
from semi.features.keys import FileKeys
from semi.runs import prediction_parts
from semi.runs.predict import Predictor


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns the model of a run on texts, by speaker or not, and its table."""
    return scaled_runs(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def sizes(monkeypatch):
    """Returns how many rows are answered at once, in a list that grows; a part is 7 rows."""
    seen, answer = [], Predictor.answer

    def counted(self, features, table, notes):
        seen.append(len(table["id"]))
        return answer(self, features, table, notes)

    monkeypatch.setattr(prediction_parts, "PART", 7)
    monkeypatch.setattr(Predictor, "answer", counted)
    return seen


def table_of(rows, folder, ids=True):
    table = rows[["id", "text", "speaker"]].copy().reset_index(drop=True)
    for row in (3, 20):
        soundfile.write(folder / f"{row}.wav", np.sin(np.arange(16_000) / (row + 5)), 16_000)
        table.loc[row, "text"] = None  # which the model reads alone
        table.loc[row, "audio"] = f"{row}.wav"
    table = table if ids else table.drop(columns="id")
    table.to_csv(folder / "new.csv", index=False)
    return folder / "new.csv"


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize("ids", [True, False])
def test_parts_are_the_answers_of_the_whole(run, sizes, tmp_path, monkeypatch, kind, ids, capsys):
    runs, rows = run
    manifest, words = str(table_of(rows, tmp_path, ids)), []
    for name, part in (("parts", 7), ("whole", 10_000)):
        monkeypatch.setattr(prediction_parts, "PART", part)
        out = tmp_path / f"{name}{kind}"
        assert main(["predict", str(runs["global"]), "--manifest", manifest, "-o", str(out)]) == 0
        words.append(capsys.readouterr().out.partition(": ")[2])
    assert words[0] == words[1] and "2 of them without a label" in words[0]
    assert max(sizes[:-1]) == 7 and sizes[-1] == len(rows) == sum(sizes[:-1])
    read = {".parquet": pd.read_parquet, ".jsonl": lambda p: pd.read_json(p, lines=True)}
    one, other = (read.get(kind, pd.read_csv)(tmp_path / f"{n}{kind}") for n in ("parts", "whole"))
    assert list(one) == list(other)
    for name in one:
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(one[name], other[name], atol=1e-6)
        else:
            assert one[name].astype(str).tolist() == other[name].astype(str).tolist()
    if not ids:
        assert one["row"].tolist() == list(range(2, len(rows) + 2))


def test_in_python_a_long_table_keeps_its_index(run, sizes):
    runs, rows = run
    table = rows[["id", "text", "speaker"]].set_index(np.arange(len(rows)) + 100)
    found = semi.load(runs["global"]).predict(table)
    assert found.index.tolist() == table.index.tolist() and len(sizes) == -(-len(rows) // 7)
    assert found["id"].tolist() == rows["id"].tolist()


def test_all_rows_of_a_speaker_are_answered_together(run, sizes):
    runs, rows = run
    semi.load(runs["speaker"]).predict(rows[["id", "text", "speaker"]])
    assert sizes == [len(rows)]


def test_a_table_without_rows_has_no_answers(run):
    runs, rows = run
    assert len(semi.load(runs["global"]).predict(rows[["id", "text", "speaker"]].head(0))) == 0


def test_what_is_known_of_files_is_read_once_for_all_parts(run, sizes, tmp_path, monkeypatch):
    read, keys = [], FileKeys

    def counted(memory):
        read.append(memory)
        return keys(memory)

    monkeypatch.setattr(store, "FileKeys", counted)
    manifest = str(table_of(run[1], tmp_path))
    out = str(tmp_path / "out.csv")
    assert main(["predict", str(run[0]["global"]), "--manifest", manifest, "-o", out]) == 0
    assert len(sizes) > 3 and len(read) == 1
