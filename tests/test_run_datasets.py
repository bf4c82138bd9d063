"""A run's ledger as a data set of Hugging Face `datasets`."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile

import semi
from semi.cli import main
from semi.data import formats
from semi.data.audio import load_audio
from semi.data.corpora import bundled_emodb
from semi.runs.dataset_sounds import UtteranceSounds
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


def last_round(run):
    own = ledger(run)
    return own[own["round"] == own["round"].max()]


def test_with_sounds_it_has_a_row_an_utterance_and_its_file(heard, tmp_path, capsys):
    out = tmp_path / "set"
    assert main(["export", str(heard), "-o", str(out), "--dataset", "--sounds"]) == 0
    table = pq.read_table(out / "data/train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["audio"] == {"_type": "Audio"} and list(features)[-1] == "audio"
    own = last_round(heard)
    assert table.column("id").to_pylist() == own["id"].tolist() == own["id"].unique().tolist()
    assert f"{out}: {len(own)} rows of the ledger" in capsys.readouterr().out
    home = Path(heard).parents[1]
    places = pd.read_csv(home / "m.csv", dtype=str).set_index("id")["audio"]
    for name, sound in zip(own["id"], table.column("audio").to_pylist(), strict=True):
        assert sound["path"] == Path(places[name]).name
        assert sound["bytes"] == (home / places[name]).read_bytes()


def test_the_sounds_come_back_as_a_table_of_utterances(heard, tmp_path):
    write_ledger_dataset(heard, tmp_path / "set", sounds=True)
    found = formats.read(tmp_path / "set", tmp_path)
    assert found is not None and len(found.frame) == len(last_round(heard))
    assert all(Path(path).is_file() for path in found.frame["audio"])


def test_of_a_part_of_a_file_the_part_alone_is_kept():
    path = str(bundled_emodb().parent / pd.read_csv(bundled_emodb())["audio"][0])
    places = {"a/b": (path, 0.25, 0.75), "whole": (path, None, None), "far": (path, 99.0, 100.0)}
    sounds = UtteranceSounds(places).column(["a/b", "whole", "far", "unknown"])
    part, whole, beyond, none = sounds.to_pylist()
    assert part["path"] == "a_b.wav" and whole["bytes"] == Path(path).read_bytes()
    wave, rate = soundfile.read(io.BytesIO(part["bytes"]), dtype="float32")
    assert rate == 16_000 and len(wave) == 8_000
    np.testing.assert_array_equal(wave, load_audio(path, start=0.25, end=0.75))
    assert beyond is None and none is None


def test_sounds_that_moved_are_found_or_a_sentence_says_how(heard, tmp_path, capsys):
    home = shutil.copytree(Path(heard).parents[1], tmp_path / "home")
    config = home / "runs/heard/config.yaml"
    config.write_text(config.read_text().replace(str(Path(heard).parents[1]), str(home)))
    (home / "moved").mkdir()
    (home / "audio").rename(home / "moved/audio")
    out = tmp_path / "set"
    line = ["export", str(home / "runs/heard"), "-o", str(out), "--dataset", "--sounds"]
    assert main(line) == 2
    told = capsys.readouterr().err
    assert "audio" in told and "data.audio_root" in told and not out.exists()
    assert main([*line, f"data.audio_root={home / 'moved'}"]) == 0


def test_what_goes_with_sounds_alone_is_told(runs, tmp_path, capsys):
    line = ["export", str(runs[0]), "-o", str(tmp_path / "set")]
    for words, told in (
        (["--dataset", "--sounds"], "has no sounds: no row of its table names a file"),
        (["--sounds"], "--sounds goes with --dataset"),
        (["--dataset", "data.audio_root=x"], "reads no data but with --dataset --sounds"),
    ):
        assert main([*line, *words]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.extras("datasets")
def test_the_library_hears_the_sounds(heard, tmp_path):
    import datasets

    write_ledger_dataset(heard, tmp_path / "set", sounds=True)
    read = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))["train"]
    for found in (ledger_dataset(heard, sounds=True), read):
        assert isinstance(found.features["audio"], datasets.Audio)
        plain = found.cast_column("audio", datasets.Audio(decode=False))
        for sound in plain["audio"]:
            assert soundfile.info(io.BytesIO(sound["bytes"])).duration > 0.5


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
