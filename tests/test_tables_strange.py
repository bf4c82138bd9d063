"""Tables as programs and people leave them: every row is read as it was meant, or named."""

import gzip
import io
import shlex
import zipfile

import pytest
import yaml

from semi.data.column_hints import label_hint
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError

HEAD = "id,text,label,speaker\n"
GZIP = gzip.compress(HEAD.encode(), mtime=0)  # without the second it was made in
ROWS = "".join(f"u{k},hello {k},{('joy', 'anger')[k % 2]},s{k % 3}\n" for k in range(12))


def put(tmp_path, content, name="m.csv"):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def said(path, **settings):
    with pytest.raises(ManifestError) as error:
        load_manifest(path, DataConfig(**settings))
    return str(error.value)


def chosen(words):
    """The `data.columns` that a sentence names, as a shell and YAML read it."""
    word = next(w for w in shlex.split(words[words.index("'data.columns") :]) if "=" in w)
    return yaml.safe_load(word.partition("=")[2])


def test_a_header_that_stands_twice_is_no_row(tmp_path):
    found = said(put(tmp_path, HEAD + ROWS + HEAD + ROWS.replace("u", "v")))
    assert "1 problem in" in found
    assert "m.csv row 14 'id, text, label, speaker': the names of the columns once more; " in found
    other = "speaker,id,label,text\ns1,v1,joy,ho\n"
    assert "row 14" in (found := said(put(tmp_path, HEAD + ROWS + other)))
    assert "the rows beneath it belong to another table" in found


@pytest.mark.parametrize("above", ["Emotions 2024,,,\nby tool,,,\n", "# by x\n# v2\n", "T\n\n"])
def test_lines_above_the_header_are_named(tmp_path, above):
    found = said(put(tmp_path, above + HEAD + ROWS))
    assert "row 3 looks like its header ('id', 'text', 'label', 'speaker')" in found


@pytest.mark.parametrize("mark", "~^:\x01")
def test_what_stands_between_columns_unread_is_named(tmp_path, mark):
    found = said(put(tmp_path, (HEAD + ROWS).replace(",", mark)))
    assert "seems to stand between its columns (id, text, label, speaker)" in found


def test_a_header_delimited_otherwise_than_its_rows_is_refused(tmp_path):
    found = said(put(tmp_path, HEAD + ROWS.replace(",", ";")))
    assert "commas stand between the columns of the header, semicolons between those of" in found


def test_row_names_without_a_header_are_named_once(tmp_path):
    rows = "".join(f"{k},{row}\n" for k, row in enumerate(ROWS.splitlines()))
    found = said(put(tmp_path, HEAD + rows))
    assert found.count("\n") == 1 and "every row has 5 fields where the header has 4" in found


@pytest.mark.parametrize("name", ["Total", "SUM:", "Summe", "합계", "总计", "Итого"])
def test_a_line_of_totals_is_no_utterance(tmp_path, name):
    assert "row 14, id" in (found := said(put(tmp_path, f"{HEAD}{ROWS}{name},12 rows,,\n")))
    assert "reads like a line of totals" in found


def test_the_mark_by_which_dos_ends_a_file_is_no_row(tmp_path):
    assert len(load_manifest(put(tmp_path, HEAD + ROWS + "\x1a"))) == 12


def zipped(name):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, HEAD)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (zipped("xl/workbook.xml"), "m.csv", "m.csv is an Excel workbook; name it .xlsx"),
        (zipped("m.csv"), "m.csv", "m.csv is packed (zip); unpack it: unzip"),
        (
            gzip.compress(HEAD.encode(), mtime=0),
            "m.txt",
            "m.txt is packed (gzip); unpack it: gunzip -k",
        ),
        (gzip.compress(HEAD.encode(), mtime=0), "m.csv.gz", "unpack it with gunzip -k "),
        (zipped("m.csv"), "m.zip", "unpack it with unzip "),
        (b"version https://git-lfs.github.com/spec/v1\n", "m.csv", "git lfs pull"),
        (b"version https://git-lfs.github.com/spec/v1\n", "m.parquet", "git lfs pull"),
        (b"PAR1" + b"\0" * 40, "m.csv", "m.csv is a Parquet file; name it .parquet"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 40, "m.csv", "an old Excel workbook (.xls); save it as CSV"),
        (b"<!DOCTYPE html><html>404</html>", "m.csv", "m.csv is a web page or XML"),
        (b"<html><body>sign in</body></html>", "m.jsonl", "m.jsonl is a web page or XML"),
        (b"\x80\x04K\x01.", "m.csv", "a pickle, which is never opened"),
        (b"ARROW1\0\0", "m.feather", "cannot read '.feather' tables, only .csv"),
    ],
)
def test_a_file_that_is_no_table_says_what_it_is(tmp_path, content, name, words):
    found = said(put(tmp_path, content, name))
    assert words in found and "\n" not in found


@pytest.mark.parametrize("name", ["gefühl", "Emotionen", "감정", "情绪", "эмоция", "Labels"])
def test_the_labels_column_is_known_in_other_languages(tmp_path, name):
    manifest = load_manifest(put(tmp_path, HEAD.replace("label", name) + ROWS))
    assert manifest.classes == ["anger", "joy"]


def test_a_column_that_may_hold_the_labels_is_named_where_none_is_known(tmp_path):
    path = put(tmp_path, HEAD.replace("label", "gold standard") + ROWS)
    manifest = load_manifest(path)
    with pytest.raises(ManifestError, match="'gold standard'\\) holds the labels") as error:
        make_splits(manifest, DataConfig(), folds=3, seed=0)
    columns = chosen(str(error.value))
    assert load_manifest(path, DataConfig(columns=columns)).classes == ["anger", "joy"]
    votes = load_manifest(put(tmp_path, "id,text,joy,anger\na,hi,1,0\nb,ho,0,1\n"))
    assert "columns named votes_<class>" in label_hint(votes.reading, votes.table)


@pytest.mark.parametrize("name", ["set", "Usage", "phase", "dataset split"])
def test_a_column_of_splits_is_known_by_its_cells(tmp_path, name):
    rows = "".join(
        f"{r},{('train', 'Test')[k % 4 == 3]}\n" for k, r in enumerate(ROWS.splitlines())
    )
    path = put(tmp_path, HEAD.replace("\n", f",{name}\n") + rows)
    manifest = load_manifest(path)
    assert manifest.table["split"].tolist().count("test") == 3
    assert f"{name} -> split" in str(manifest.reading)
    assert (
        load_manifest(path, DataConfig(columns={"split": ""})).table["split"].tolist()
        == [None] * 12
    )


@pytest.mark.parametrize(
    ("cell", "side"),
    [
        *[("devel", "dev"), ("val_set", "dev"), ("Trainset", "train"), ("Test-Set", "test")],
        *[
            ("학습", "train"),
            ("검증", "dev"),
            ("测试", "test"),
            ("hold-out", "test"),
            ("Dev.", "dev"),
        ],
    ],
)
def test_splits_are_known_however_they_are_written(tmp_path, cell, side):
    manifest = load_manifest(put(tmp_path, f"id,text,split\na,hi,{cell}\nb,ho,train\n"))
    assert manifest.table["split"].tolist() == [side, "train"]


def test_numbers_that_another_column_spells_out_are_a_warning(tmp_path):
    rows = "".join(f"u{k},hi {k},{k % 2},{('joy', 'anger')[k % 2]},{k}\n" for k in range(8))
    path = put(tmp_path, "id,text,label,label_name,n\n" + rows)
    (note,) = [n for n in load_manifest(path).reading.notes if n.startswith("warning")]
    assert "the labels in 'label' are numbers that 'label_name' spells out" in note
    assert load_manifest(path, DataConfig(columns=chosen(note))).classes == ["anger", "joy"]


def test_a_column_taken_for_ids_that_repeat_can_be_left(tmp_path):
    rows = "".join(f"{('Anna', 'Ben')[k % 2]},hi {k},joy\n" for k in range(4))
    path = put(tmp_path, "name,text,label\n" + rows)
    found = said(path)
    assert "if the column 'name' names something else" in found
    assert len(load_manifest(path, DataConfig(columns=chosen(found)))) == 4
