"""Tables made to harm: refused in a sentence, before anything is unpacked, read or run."""

import json
import pickle

import numpy as np
import pytest
from workbook_bombs import TWO_ROWS, cells, written

from semi.cli import main
from semi.data.corpora.pickles import read_npz, safe_loads
from semi.data.formats.workbook_limits import refuse_bombs
from semi.data.manifest import load_manifest
from semi.data.votes import parse_votes
from semi.errors import ManifestError


def refusal(path, read=load_manifest):
    """Returns the sentence of a table that is refused."""
    with pytest.raises(ManifestError) as caught:
        read(path)
    return str(caught.value)


# --- workbooks ---


@pytest.mark.extras("openpyxl")
def test_the_workbook_that_the_bombs_are_made_of_is_one(tmp_path):
    path = written(tmp_path / "m.xlsx")
    refuse_bombs(path)
    assert load_manifest(path).table["text"].tolist() == ["eins"]


BOMBS = {
    "packed": ({"padding": 200}, r"sheet\.xml unpacks from 0\.\d to 200 MB, which no table does"),
    "far": (
        {"rows": TWO_ROWS + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'},
        "in row 1,048,576 and column 16,384, so it has 17,179,869,184 cells; delete the empty",
    ),
    "merged": (
        {"after": '<mergeCells count="1"><mergeCell ref="A2:XFD1048576"/></mergeCells>'},
        "17,179,852,800 cells of xl/sheet.xml are merged, more than any table needs",
    ),
}


@pytest.mark.parametrize(("parts", "sentence"), BOMBS.values(), ids=BOMBS)
def test_a_workbook_that_asks_for_gigabytes_is_refused_unread(parts, sentence, tmp_path):
    path = written(tmp_path / "m.xlsx", **parts)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ManifestError, match=sentence):
        refuse_bombs(path)


@pytest.mark.extras("openpyxl")
@pytest.mark.parametrize("parts", [parts for parts, _ in BOMBS.values()], ids=BOMBS)
def test_reading_a_table_asks_before_it_opens_one(parts, tmp_path):
    assert "ave the sheet as CSV (UTF-8)" in refusal(written(tmp_path / "m.xlsx", **parts))


def test_a_workbook_of_ordinary_size_is_let_through(tmp_path):
    rows = cells(("id", "text"), *((f"u{k}", "said " * 9) for k in range(2000)))
    merged = '<mergeCells count="1"><mergeCell ref="$A$2:A2001"/></mergeCells>'
    refuse_bombs(written(tmp_path / "m.xlsx", rows=rows, after=merged))
    (tmp_path / "cut.xlsx").write_bytes((tmp_path / "m.xlsx").read_bytes()[:700])
    refuse_bombs(tmp_path / "cut.xlsx")  # said where it is read


LAUGHS = '<!ENTITY l0 "lolololol">' + "".join(
    f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10)
)
ENTITIES = {
    "many": (LAUGHS, "&l9;"),
    "a file": ('<!ENTITY f SYSTEM "file:///etc/hostname">', "&f;"),
}


@pytest.mark.extras("openpyxl")
@pytest.mark.parametrize(("entities", "name"), ENTITIES.values(), ids=ENTITIES)
def test_entities_of_a_workbook_are_not_written_out(entities, name, tmp_path):
    rows = cells(("id", "text"), ("a", name))
    path = written(tmp_path / "m.xlsx", rows=rows, before=f"<!DOCTYPE w [{entities}]>")
    assert "not a readable Excel workbook" in refusal(path)


# --- numbers without end, headers without names ---

NINES = "9" * 100_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.jsonl", f'{{"id": "a", "text": {NINES}}}'),
        ("list.json", f'[{{"id": "a", "text": {NINES}}}]'),
        ("map.json", f'{{\n"a.wav": {{"label": "joy", "seconds": {NINES}}}\n}}'),
        ("studio.json", f'[{{"id": {NINES}, "data": {{"text": "x"}}, "annotations": []}}]'),
        ("min.json", f'[{{"annotator": 1, "annotation_id": {NINES}, "text": "x"}}]'),
    ],
)
def test_a_number_of_a_hundred_thousand_digits_is_a_sentence(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert "a number of 100,000 digits" in refusal(tmp_path / name)


@pytest.mark.parametrize("count", [NINES, "9" * 400, "-" + "9" * 400], ids=["long", "400", "below"])
def test_votes_beyond_any_number_are_none(count):
    assert parse_votes(f'{{"joy": {count}}}') is None
    assert parse_votes({"joy": 10**350}) is None
    assert parse_votes('{"joy": 2}') == {"joy": 2.0}


@pytest.mark.parametrize("text", [",,,\n,,,\n", ",,,\na,b,c,d\n", '"",""\na,b\n', " ; ;\nx;y;z\n"])
def test_a_header_of_nothing_is_a_sentence(text, tmp_path):
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    assert refusal(tmp_path / "m.csv").startswith("m.csv row 1: the header names no column; write")


def test_memory_that_is_not_there_is_told_in_a_sentence(tmp_path, monkeypatch, capsys):
    def asks(*_, **__):
        raise MemoryError("malloc of size 200000000000 failed")

    monkeypatch.setattr("semi.data.manifest.read_table", asks)
    (tmp_path / "m.csv").write_text("id,text\na,x\n", encoding="utf-8")
    assert main(["check", "name=x", f"data.manifest={tmp_path / 'm.csv'}"]) == 2
    err = capsys.readouterr().err
    assert "this machine has not enough memory for what was given (malloc of size" in err
    assert "unexpected" not in err


# --- pickled labels of MERTools ---


def test_a_list_that_stands_in_itself_a_billion_times_is_refused():
    nested = ["x"]
    for _ in range(40):
        nested = [nested, nested]
    with pytest.raises(pickle.UnpicklingError, match="more values than bytes"):
        safe_loads(pickle.dumps(nested))


def test_labels_that_share_one_object_are_read():
    one = {"emo": "sad", "val": -10.0}
    assert safe_loads(pickle.dumps({f"v{k}": one for k in range(30_000)}))["v29999"] == one


SETS = [b"cnumpy.core.multiarray\nscalar\n", b"cnumpy.core.multiarray\n_reconstruct\n",
        b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy\n_frombuffer\n"]  # fmt: skip


@pytest.mark.parametrize("named", SETS, ids=[s.split()[-1].decode() for s in SETS])
@pytest.mark.parametrize("attribute", ["__defaults__", "__setstate__", "__call__", "mark"])
def test_a_pickle_cannot_change_what_it_names(named, attribute, tmp_path):
    data = named + b"(N}(V" + attribute.encode() + b"\n(V1\nV2\ntutb."
    before = pickle.dumps({"a": np.float32(1.5), "b": np.arange(3)})
    with pytest.raises(pickle.UnpicklingError, match=f"attribute {attribute} to be set"):
        safe_loads(data)
    assert safe_loads(before) == {"a": 1.5, "b": [0, 1, 2]}
    member = np.array([{"x": 1}], dtype=object)
    np.savez(tmp_path / "m.npz", train_corpus=member)
    assert read_npz(tmp_path / "m.npz") == {"train_corpus": [{"x": 1}]}


def test_json_of_a_table_reads_as_before(tmp_path):
    rows = [{"id": "a", "text": "x", "seconds": 1.5}, {"id": 7, "text": "y", "seconds": 2}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert load_manifest(tmp_path / "m.jsonl").table["id"].tolist() == ["a", "7"]


# --- YAML that a corpus brings along ---

NESTED = "z0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"z{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)
HEADERS = {
    "labels": "schemes:\n  emotion: {labels: {x: {of: *a11}}}\n",
    "split": "tables:\n  files: {split_id: *a11}\n",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_aliases_of_a_corpus_are_not_written_out(header, tmp_path):
    (tmp_path / "db.yaml").write_text(NESTED + header, encoding="utf-8")
    (tmp_path / "db.files.csv").write_text("file,emotion\na.wav,joy\n", encoding="utf-8")
    assert "aliases stand for more than 1,000,000 values" in refusal(tmp_path)


@pytest.mark.parametrize("named", ["[a, b]", "{a: b}", "2020-01-01"])
def test_a_split_or_scheme_that_is_no_name_is_read_past(named, tmp_path):
    header = (
        f"tables:\n  files: {{split_id: {named}, columns: {{emotion: {{scheme_id: {named}}}}}}}\n"
    )
    (tmp_path / "db.yaml").write_text(header, encoding="utf-8")
    (tmp_path / "db.files.csv").write_text("file,emotion\na.wav,joy\n", encoding="utf-8")
    assert "a.wav" in refusal(tmp_path)  # which is not there: all else was read
