"""Hugging Face datasets: Parquet with sounds in it, shards, save_to_disk, objects in memory."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format_trees import utterances

from semi.data.audio import load_audio
from semi.data.formats.huggingface import from_dataset
from semi.data.manifest import load_manifest, write_manifest
from semi.errors import ManifestError

NAMES = ["happiness", "neutral", "anger"]
FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": NAMES, "_type": "ClassLabel"},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "semi" / "sounds"


def sound(row):
    return {"bytes": Path(row["audio"]).read_bytes(), "path": f"{row['id']}.opus"}


def arrow(rows, features=FEATURES, **columns):
    """Returns a pyarrow table as `datasets` makes it."""
    cells = {
        "audio": [sound(row) for row in rows],
        "text": [row["text"] for row in rows],
        "label": pa.array([NAMES.index(row["label"]) for row in rows], pa.int64()),
        **columns,
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.table(cells).replace_schema_metadata(metadata)


def parquet(path, rows, features=FEATURES, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(arrow(rows, features, **columns), path)
    return path


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_sounds_within_parquet_are_heard_and_classes_have_their_names(tmp_path, cache):
    rows = utterances()
    manifest = load_manifest(parquet(tmp_path / "hf.parquet", rows))
    table = manifest.table
    assert table["id"].tolist() == [row["id"] for row in rows]
    assert table["label"].tolist() == [row["label"] for row in rows]
    for path, row in zip(table["audio"], rows, strict=True):
        assert Path(path).is_relative_to(cache)
        np.testing.assert_array_equal(load_audio(path), load_audio(row["audio"]))
    assert manifest.notes[0] == "read as a Hugging Face dataset: 6 rows"
    assert any(str(cache) in note for note in manifest.notes)


def test_sounds_are_kept_once_and_mended_where_a_kept_one_is_damaged(tmp_path, cache):
    path = parquet(tmp_path / "hf.parquet", utterances())
    table = load_manifest(path).table
    kept = Path(table["audio"][0])
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + b"x")
    assert load_manifest(path).table["audio"].tolist() == table["audio"].tolist()
    assert kept.read_bytes() == whole
    assert len([p for p in cache.rglob("*") if p.is_file()]) == 6


def test_a_number_beyond_the_names_is_named_and_minus_one_is_unlabelled(tmp_path):
    rows = utterances(1)
    labels = pa.array([0, -1, None], pa.int64())
    manifest = load_manifest(parquet(tmp_path / "a.parquet", rows, label=labels))
    assert manifest.table["label"].tolist() == ["happiness", None, None]
    bad = parquet(tmp_path / "b.parquet", rows, label=pa.array([0, 3, 1], pa.int64()))
    assert "row 3, label '3': the ClassLabel has 3 names, from 0" in refusal(bad)


def test_without_features_a_column_of_bytes_and_path_is_still_a_sound(tmp_path):
    rows = utterances(1)
    path = parquet(tmp_path / "a.parquet", rows, None)
    assert load_manifest(path).table["audio"].notna().all()


def test_the_sound_may_go_by_another_name_and_pictures_are_left_out(tmp_path):
    rows = utterances(1)
    table = arrow(rows, None).rename_columns(["recording", "text", "label"])
    picture = pa.array([{"bytes": b"\x89PNG", "path": "a.png"}] * 3)
    pq.write_table(table.append_column("face", picture), tmp_path / "a.parquet")
    manifest = load_manifest(tmp_path / "a.parquet")
    assert manifest.table["audio"].notna().all() and "face" not in manifest.table
    assert "columns of bytes that are no sound are left out: face" in manifest.notes


def test_decoded_arrays_are_sounds_too(tmp_path):
    rows = utterances(1)
    waves = [load_audio(row["audio"]) for row in rows]
    cells = [{"array": wave, "path": None, "sampling_rate": 16000} for wave in waves]
    pd.DataFrame({"audio": cells, "text": ["a", "b", "c"]}).to_parquet(tmp_path / "a.parquet")
    table = load_manifest(tmp_path / "a.parquet").table
    for path, wave in zip(table["audio"], waves, strict=True):
        np.testing.assert_allclose(load_audio(path), wave, atol=1e-6)
    shuffled = pd.DataFrame({"audio": cells, "text": ["a", "b", "c"]})[::-1]
    shuffled.to_parquet(tmp_path / "b.parquet")
    other = load_manifest(tmp_path / "b.parquet").table
    assert other["id"].tolist() == table["id"].tolist()[::-1]  # made of what a row holds


def test_a_row_without_sound_keeps_its_text(tmp_path):
    rows = utterances(1)
    empty = {"bytes": None, "path": None}
    audio = [sound(rows[0]), empty, None]
    table = load_manifest(parquet(tmp_path / "a.parquet", rows, audio=audio)).table
    assert table["audio"].notna().tolist() == [True, False, False]
    assert table["text"].notna().all()


def test_ordinary_parquet_is_read_as_before(tmp_path):
    pd.DataFrame({"id": ["a"], "text": ["x"], "label": ["l"]}).to_parquet(tmp_path / "a.parquet")
    assert load_manifest(tmp_path / "a.parquet").notes == []


def test_ids_in_an_index_of_several_levels_are_columns(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b"], "speaker": ["s", "t"], "text": ["x", "y"]})
    frame.set_index(["id", "speaker"]).to_parquet(tmp_path / "a.parquet")
    table = load_manifest(tmp_path / "a.parquet").table
    assert table["id"].tolist() == ["a", "b"] and table["speaker"].tolist() == ["s", "t"]


@pytest.mark.parametrize("given", [None, [1], {"train": [1]}, pd.DataFrame({"a": [1]})])
def test_what_is_no_dataset_is_refused(given):
    with pytest.raises(ManifestError, match=r"takes a datasets\.Dataset or DatasetDict, got"):
        from_dataset(given)


def test_a_damaged_file_is_refused_in_one_sentence(tmp_path):
    path = parquet(tmp_path / "a.parquet", utterances())
    data = bytearray(path.read_bytes())
    data[100:3000] = bytes(2900)
    path.write_bytes(bytes(data))
    assert "not a readable Parquet file" in refusal(path)


def test_shards_of_splits_are_one_table(tmp_path):
    rows = utterances()
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet", rows[:2])
    parquet(tmp_path / "data" / "train-00001-of-00002.parquet", rows[2:4])
    parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", rows[4:])
    (tmp_path / "README.md").write_text("x")
    manifest = load_manifest(tmp_path)
    assert manifest.table["split"].tolist() == ["train"] * 4 + ["dev"] * 2
    assert manifest.table["id"].tolist() == [row["id"] for row in rows]
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    notes = load_manifest(tmp_path).notes
    assert "warning: only 1 of 2 shards of train are here: the rest of its rows is missing" in notes


def saved(folder, rows):
    """Writes what Dataset.save_to_disk writes."""
    folder.mkdir(parents=True)
    table = arrow(rows)
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))


def test_a_dataset_saved_to_disk(tmp_path):
    rows = utterances()
    saved(tmp_path / "one", rows)
    assert load_manifest(tmp_path / "one").table["label"].tolist() == [r["label"] for r in rows]
    saved(tmp_path / "dict" / "train", rows[:4])
    saved(tmp_path / "dict" / "test", rows[4:])
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    manifest = load_manifest(tmp_path / "dict")
    assert manifest.table["split"].tolist() == ["train"] * 4 + ["test"] * 2
    assert manifest.notes[0] == (
        "read as a Hugging Face dataset on disk: 6 rows, splits train, test"
    )


class Features(dict):
    def to_dict(self):
        return dict(self)


class Dataset:
    """The part of datasets.Dataset that is used; reading a sound here would decode it."""

    def __init__(self, table, kind=None):
        self.table, self.kind, self.features = table, kind, Features(FEATURES)

    def with_format(self, kind):
        return Dataset(self.table, kind)

    def iter(self, batch_size):
        assert self.kind == "arrow"
        for first in range(0, len(self.table), batch_size):
            yield self.table.slice(first, batch_size)


def test_a_dataset_in_memory_becomes_a_table_that_can_be_written(tmp_path):
    rows = utterances()
    frame = from_dataset({"train": Dataset(arrow(rows[:4])), "test": Dataset(arrow(rows[4:]))})
    write_manifest(frame, tmp_path / "mine.csv")
    table = load_manifest(tmp_path / "mine.csv").table
    assert table["id"].tolist() == [row["id"] for row in rows]
    assert table["label"].tolist() == [row["label"] for row in rows]
    assert table["split"].tolist() == ["train"] * 4 + ["test"] * 2


@pytest.mark.extras("datasets")
def test_the_library_itself_gives_the_same(tmp_path):
    import datasets

    rows = utterances()
    dataset = datasets.Dataset(datasets.table.InMemoryTable(arrow(rows)))
    picked = dataset.select([4, 0])
    assert from_dataset(picked)["id"].tolist() == [rows[4]["id"], rows[0]["id"]]
    dataset.save_to_disk(str(tmp_path / "saved"))
    dataset.to_parquet(str(tmp_path / "a.parquet"))
    for path in (tmp_path / "saved", tmp_path / "a.parquet"):
        table = load_manifest(path).table
        assert table["label"].tolist() == [row["label"] for row in rows]
        assert Path(table["audio"][0]).read_bytes() == Path(rows[0]["audio"]).read_bytes()


@pytest.mark.extras("datasets")
def test_splits_classes_and_sounds_of_the_library_are_kept_without_decoding(tmp_path):
    """No torchcodec: it is an import of its own that a sound would need to be decoded."""
    import datasets

    rows = utterances()
    numbers = pa.array([-1] + [NAMES.index(row["label"]) for row in rows[1:]], pa.int64())
    whole = datasets.Dataset(datasets.table.InMemoryTable(arrow(rows, label=numbers)))
    parts = {"train": whole.select(range(4)), "validation": whole.select([4, 5])}
    frame = from_dataset(datasets.DatasetDict(parts).with_format("numpy"))
    assert "torchcodec" not in sys.modules
    write_manifest(frame, tmp_path / "mine.csv")
    table = load_manifest(tmp_path / "mine.csv").table
    assert table["split"].tolist() == ["train"] * 4 + ["dev"] * 2
    assert table["label"].isna().tolist() == [True] + [False] * 5
    assert table["label"].tolist()[1:] == [row["label"] for row in rows[1:]]
    for path, row in zip(table["audio"], rows, strict=True):
        assert Path(path).read_bytes() == Path(row["audio"]).read_bytes()


@pytest.mark.extras("datasets")
def test_streams_are_refused(tmp_path):
    import datasets

    whole = datasets.Dataset(datasets.table.InMemoryTable(arrow(utterances())))
    stream = whole.to_iterable_dataset()
    changed = stream.map(lambda row: row)  # of which no features are known: classes were numbers
    for given in (stream, changed, datasets.IterableDatasetDict({"train": stream})):
        with pytest.raises(ManifestError, match="from_dataset takes no stream"):
            from_dataset(given)


def test_a_dataset_without_rows_is_refused():
    empty = arrow([])
    for given in (Dataset(empty), {"train": Dataset(empty), "test": Dataset(empty)}):
        with pytest.raises(ManifestError, match="the dataset has no rows"):
            from_dataset(given)
    assert len(from_dataset({"train": Dataset(arrow(utterances())), "test": Dataset(empty)})) == 6


def test_a_full_cache_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said = refusal(parquet(tmp_path / "a.parquet", utterances(1)))
    assert "XDG_CACHE_HOME" in said and "cannot be kept there" in said
