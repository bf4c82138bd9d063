"""audformat: tables with durations as times, and databases with their header."""

import pandas as pd
import pytest
from format_trees import place, utterances

from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError

HEADER = """
name: mini
schemes:
  emotion: {dtype: str, labels: [anger, happiness, neutral]}
  transcription:
    dtype: str
    labels: {a1: Der Lappen liegt auf dem Eisschrank., b2: Das will sie am Mittwoch abgeben.}
splits:
  train: {type: train}
  test: {type: test}
tables:
  emotion:
    type: filewise
    columns: {emotion: {scheme_id: emotion}}
  emotion.train:
    split_id: train
    columns: {emotion: {scheme_id: emotion}}
  emotion.test:
    split_id: test
    columns: {emotion: {scheme_id: emotion}}
  files:
    columns: {duration: {}, transcription: {scheme_id: transcription}, speaker: {}}
"""


def database(root, tables=("emotion", "files"), header=HEADER):
    rows = utterances()
    lines = {name: [] for name in ("emotion", "emotion.train", "emotion.test", "files")}
    for at, row in enumerate(rows):
        place(row, root / "audio" / f"{row['id']}.opus")
        file = f"audio/{row['id']}.opus"
        lines["emotion"].append(f"{file},{row['label']}")
        lines["emotion.train" if at % 2 else "emotion.test"].append(f"{file},{row['label']}")
        lines["files"].append(f"{file},0 days 00:00:01.500000,a1,{row['speaker']}")
    for name in tables:
        columns = "duration,transcription,speaker" if name == "files" else "emotion"
        content = "\n".join([f"file,{columns}", *lines[name]]) + "\n"
        (root / f"db.{name}.csv").write_text(content)
    if header:
        (root / "db.yaml").write_text(header)
    return root


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def segments(path, cells):
    """Writes a segmented table of one sound; each cell is (start, end)."""
    row = utterances(1)[0]
    place(row, path.parent / "a.opus")
    lines = [f"a.opus,{start},{end},anger" for start, end in cells]
    path.write_text("\n".join(["file,start,end,emotion", *lines]))
    return path


def test_durations_become_seconds_and_segments_get_ids(tmp_path):
    cells = [("0 days 00:00:00", "0 days 00:00:01.500000"), ("0 days 00:00:01.5", "NaT")]
    manifest = load_manifest(segments(tmp_path / "t.csv", cells))
    table = manifest.table
    assert table["start"].tolist() == [0.0, 1.5]
    assert table["end"].tolist()[0] == 1.5 and table["end"].isna().tolist() == [False, True]
    assert table["id"].tolist() == ["a_0-1.5", "a_1.5-end"]
    assert manifest.notes[0] == "read as an audformat table: 2 rows"


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1 days 00:00:01", 86401.0),
        ("00:01:30.25", 90.25),
        ("2.5", 2.5),
        ("0:00:03", 3.0),
        ("PT1.5S", 1.5),
    ],
)
def test_all_spellings_of_a_duration(tmp_path, cell, seconds):
    config = DataConfig(max_seconds=100_000.0)
    table = load_manifest(segments(tmp_path / "t.csv", [("0", cell)]), config).table
    assert table["end"].tolist() == [seconds]


def test_a_time_that_is_none_is_named(tmp_path):
    said = refusal(segments(tmp_path / "t.csv", [("0 days 00:00:00", "1 day and a bit")]))
    assert "row 2, end" in said


def test_a_parquet_table_of_a_database(tmp_path):
    row = utterances(1)[0]
    place(row, tmp_path / "a.opus")
    frame = pd.DataFrame({"file": ["a.opus"], "start": [pd.Timedelta(0)],
                          "end": [pd.Timedelta("1.25s")], "emotion": ["anger"]})  # fmt: skip
    frame.to_parquet(tmp_path / "db.emotion.parquet")
    (tmp_path / "db.yaml").write_text(HEADER)
    frame.set_index(["file", "start", "end"]).to_parquet(tmp_path / "indexed.parquet")
    for path in (tmp_path, tmp_path / "db.emotion.parquet", tmp_path / "indexed.parquet"):
        table = load_manifest(path).table
        assert table["end"].tolist() == [1.25] and table["label"].tolist() == ["anger"]


def test_a_database_joins_what_is_known_of_its_files(tmp_path):
    manifest = load_manifest(database(tmp_path))
    table, rows = manifest.table, utterances()
    assert table["label"].tolist() == [row["label"] for row in rows]
    assert table["speaker"].tolist() == [row["speaker"] for row in rows]
    assert set(table["text"]) == {"Der Lappen liegt auf dem Eisschrank."}
    assert table["seconds"].tolist() == [1.5] * 6
    assert table["id"].tolist() == [row["id"] for row in rows]
    assert manifest.notes[0] == "read as an audformat database: table emotion"
    assert "codes of transcription are spelled out by db.yaml" in " ".join(manifest.notes)


def test_tables_of_splits_give_the_split_and_the_rest_is_named(tmp_path):
    manifest = load_manifest(database(tmp_path, ("emotion", "emotion.train", "emotion.test")))
    assert sorted(manifest.table["split"].tolist()) == ["test"] * 3 + ["train"] * 3
    assert len(manifest) == 6 and "not read: emotion" in manifest.notes[0]


def test_several_tables_of_labels_are_asked_for(tmp_path):
    content = (database(tmp_path, ("emotion",)) / "db.emotion.csv").read_text()
    (tmp_path / "db.emotion.csv").unlink()
    for name in ("first", "second"):
        (tmp_path / f"db.{name}.csv").write_text(content)
    assert "several tables of this audformat database have labels (first, second)" in refusal(
        tmp_path
    )


def test_a_database_without_labels_says_which_tables_it_has(tmp_path):
    said = refusal(database(tmp_path, ("files",)))
    assert "no table of this audformat database has a column emotion" in said
    assert "(tables: files)" in said


def test_a_damaged_header_is_refused_and_pickles_are_not_opened(tmp_path):
    database(tmp_path)
    (tmp_path / "db.emotion.pkl").write_bytes(b"cos\nsystem\n(S'touch x'\ntR.")
    assert len(load_manifest(tmp_path)) == 6
    for odd in ("- a", "tables: [1]", "tables: {emotion: {columns: 3}}"):
        (tmp_path / "db.yaml").write_text(odd)
        assert len(load_manifest(tmp_path)) == 6
    (tmp_path / "db.yaml").write_text("a: &a [*a]")
    assert "an alias stands for something that holds the alias itself" in refusal(tmp_path)
    (tmp_path / "db.yaml").write_text("schemes: [a\n  b: {")
    assert "not readable YAML" in refusal(tmp_path)
