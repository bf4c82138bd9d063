"""A run's ledger as a data set of Hugging Face `datasets`."""

import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import semi
from semi.cli import main
from semi.data import formats
from semi.runs.run_datasets import ledger_dataset, write_ledger_dataset


def ledger(run):
    return pd.read_parquet(Path(run) / "ledger.parquet")


def test_the_folder_holds_the_ledger_with_its_classes(heard, tmp_path, capsys):
    out = tmp_path / "set"
    assert main(["export", str(heard), "-o", str(out), "--dataset"]) == 0
    own = ledger(heard)
    assert f"{out}: {len(own)} rows of the ledger" in capsys.readouterr().out
    table = pq.read_table(out / "data/train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == list(own.columns) == table.column_names
    classes = semi.load(heard).classes
    assert features["label"] == {"names": classes, "_type": "ClassLabel"}
    assert features["confidence"] == {"dtype": "float32", "_type": "Value"}
    frame = table.to_pandas()
    for name in ("label", "vote_fused", "vote_text"):
        named = [None if pd.isna(k) else classes[int(k)] for k in frame[name]]
        assert named == [None if pd.isna(x) else x for x in own[name]]
    for name in own.columns.difference([n for n in own if n == "label" or n.startswith("vote_")]):
        assert frame[name].tolist() == own[name].tolist()


def test_a_folder_that_is_there_is_not_written_over(runs, tmp_path):
    write_ledger_dataset(runs[0], tmp_path / "set")
    with pytest.raises(semi.RunError, match="is already written and is never changed"):
        write_ledger_dataset(runs[0], tmp_path / "set")


def test_what_is_no_finished_run_is_refused(tmp_path, runs):
    with pytest.raises(semi.RunError):
        write_ledger_dataset(tmp_path / "none", tmp_path / "set")
    with pytest.raises(semi.RunError):
        write_ledger_dataset(Path(runs[0]) / "model", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_it_is_read_back_as_a_table_of_utterances(heard, tmp_path):
    """What semi wrote as a data set, its own reader of data sets reads: classes by name."""
    write_ledger_dataset(heard, tmp_path / "set")
    found = formats.read(tmp_path / "set", tmp_path)
    assert found is not None
    frame = found.frame
    assert frame["label"].tolist() == ledger(heard)["label"].tolist()


@pytest.mark.extras("datasets")
def test_the_library_reads_both(heard, tmp_path):
    import datasets

    own = ledger(heard)
    made = ledger_dataset(heard)
    write_ledger_dataset(heard, tmp_path / "set")
    read = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))["train"]
    for found in (made, read):
        assert found.column_names == list(own.columns) and len(found) == len(own)
        label = found.features["label"]
        assert isinstance(label, datasets.ClassLabel)
        assert [label.int2str(k) for k in found["label"]] == own["label"].tolist()
        assert list(found["id"]) == own["id"].tolist()
    added = made.filter(lambda row: row["accepted"])
    assert len(added) == own["accepted"].sum()


def test_without_the_library_a_sentence_says_how(heard, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(semi.RunError, match="the library datasets is not installed: pip install"):
        ledger_dataset(heard)
