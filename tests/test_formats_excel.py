"""Excel workbooks: sheets, dates, times and numbers as a person would write them."""

import datetime

import pytest

from semi.data.formats import excel
from semi.data.manifest import load_manifest
from semi.errors import ManifestError

ROWS = [["id", "text", "label"], ["a", "eins", "froh"], ["b", "zwei", "müde"]]


def workbook(path, **sheets):
    import openpyxl  # pyright: ignore[reportMissingModuleSource]

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    return str(caught.value)


@pytest.mark.extras("openpyxl")
def test_a_sheet_is_a_table(tmp_path):
    manifest = load_manifest(workbook(tmp_path / "m.xlsx", Blatt1=ROWS, leer=[]))
    assert manifest.table["text"].tolist() == ["eins", "zwei"]
    assert manifest.table["label"].tolist() == ["froh", "müde"]
    assert manifest.notes == ["read as an Excel workbook: sheet 'Blatt1', 2 rows"]


@pytest.mark.extras("openpyxl")
def test_of_several_sheets_the_first_with_rows_is_read_and_the_rest_named(tmp_path):
    path = workbook(tmp_path / "m.xlsx", cover=[["Study 1"]], data=ROWS, more=ROWS)
    manifest = load_manifest(path)
    assert len(manifest) == 2 and "sheet 'data', 2 rows" in manifest.notes[0]
    assert "2 sheets hold rows; not read: 'more'" in manifest.notes[1]


@pytest.mark.extras("openpyxl")
def test_numbers_dates_and_times_are_written_as_people_do(tmp_path):
    header = ["id", "text", "label", "valence", "start", "end", "recorded", "done"]
    day, clock = datetime.datetime(2024, 1, 31), datetime.time(0, 1, 30, 500000)
    rows = [
        header,
        [7, "x", 1, 3.5, 2.0, clock, day, True],
        [8, "y", 2.0, None, None, None, None, False],
    ]
    table = load_manifest(workbook(tmp_path / "m.xlsx", data=rows)).table
    assert table["id"].tolist() == ["7", "8"] and table["label"].tolist() == ["1", "2"]
    assert table["start"].tolist()[0] == 2.0 and table["end"].tolist()[0] == 90.5
    assert table["recorded"].tolist() == ["2024-01-31", None]
    assert table["done"].tolist() == ["True", "False"]


@pytest.mark.extras("openpyxl")
def test_rows_have_the_numbers_of_the_sheet(tmp_path):
    rows = [[], ["id", "text", "valence"], [], ["a", "x", "much"], [], ["b", "y", 3]]
    assert "row 4, valence 'much'" in refusal(workbook(tmp_path / "m.xlsx", data=rows))


@pytest.mark.extras("openpyxl")
def test_a_formula_that_was_never_computed_is_no_empty_cell(tmp_path):
    rows = [["id", "text", "label"], ["a", "x", '=CONCATENATE("a","b")'], [None, " ", ""]]
    said = refusal(workbook(tmp_path / "m.xlsx", data=rows))
    assert said.startswith("1 problem") and "row 2, label" in said
    assert "a formula without its value" in said


@pytest.mark.extras("openpyxl")
def test_a_header_that_stands_twice_is_named(tmp_path):
    rows = [["id", "text", "text"], ["a", "x", "y"]]
    assert "row 1, text 'text': the column appears twice" in refusal(
        workbook(tmp_path / "m.xlsx", data=rows)
    )


@pytest.mark.extras("openpyxl")
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"id,text\na,b\n"])
def test_what_is_no_workbook_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "m.xlsx"
    path.write_bytes(content)
    assert "not a readable Excel workbook" in refusal(path)


@pytest.mark.extras("openpyxl")
def test_a_workbook_without_rows_is_refused(tmp_path):
    path = workbook(tmp_path / "m.xlsx", data=[["id", "text"]])
    assert "no sheet holds a header and a row beneath it" in refusal(path)


def test_without_the_library_the_remedy_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    path = tmp_path / "m.xlsx"
    path.write_bytes(b"PK")
    assert excel.recognises(path)
    assert "pip install 'semi-emotion[xlsx]', or save the sheet as CSV (UTF-8)" in refusal(path)
