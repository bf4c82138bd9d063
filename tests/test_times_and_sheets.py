"""Segments whose times stand under other names, and workbooks as people keep them."""

import datetime
import shlex

import pytest
import yaml
from speech_files import save, speech

from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def segments(tmp_path, header, *rows):
    """A table of segments of one sound of 4 s."""
    save(tmp_path / "long.wav", speech(4))
    lines = "".join(f"u{k},long.wav,{row}\n" for k, row in enumerate(rows))
    (tmp_path / "m.csv").write_text(f"id,audio,{header}\n{lines}")
    return load_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("header", "row"),
    [
        *[("Start (ms),End (ms)", "500,1500"), ("start_msec,end_msec", "500,1500")],
        *[("Start (s),End [s]", "0.5,1.5"), ("onset,offset", "0.5,1.5"), ("tmin,tmax", "0.5,1.5")],
        *[("begin_time,finish_time", "0.5,1.5"), ("startMs,endMs", "500,1500")],
        *[("offset,duration", "0.5,1"), ("start,duration", "0.5,1")],
        ("start_ms,duration_ms", "500,1000"),
    ],
)  # fmt: skip
def test_times_are_known_under_the_names_that_other_tools_give_them(tmp_path, header, row):
    manifest = segments(tmp_path, header, row)
    assert manifest.table[["start", "end"]].to_numpy().tolist() == [[0.5, 1.5]]
    if "duration" in header:
        assert any(note.startswith("end is ") for note in manifest.reading.notes)


def test_rows_that_hear_the_same_whole_sound_are_a_warning(tmp_path):
    manifest = segments(tmp_path, "from sample,to sample", "0,16000", "16000,32000")
    (note,) = [n for n in manifest.reading.notes if n.startswith("warning: 2 rows name the same")]
    word = next(w for w in shlex.split(note) if w.startswith("data.columns="))
    assert yaml.safe_load(word[13:]) == {"start": "from sample", "end": "to sample"}
    assert not segments(tmp_path, "start,end", "0,1", "1,2").reading.notes


def test_an_endless_time_is_no_time(tmp_path):
    with pytest.raises(ManifestError, match="row 2, end 'inf': not a time"):
        segments(tmp_path, "start,end", "0.5,inf")


def workbook(tmp_path, *sheets, merged=()):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for k, rows in enumerate(sheets):
        sheet = book.create_sheet(f"s{k}")
        for row in rows:
            sheet.append(row)
        for area in merged:
            sheet.merge_cells(area)
    book.save(tmp_path / "m.xlsx")
    return load_manifest(tmp_path / "m.xlsx", DataConfig())


HEAD = ["id", "text", "label", "start", "end"]
ROWS = [[f"u{k}", f"hi {k}", ("joy", "calm")[k % 2], datetime.time(0, 0, 1), 2.5] for k in range(6)]


@pytest.mark.extras("openpyxl")
def test_each_row_of_a_merged_cell_has_its_value(tmp_path):
    manifest = workbook(tmp_path, [HEAD, *ROWS], merged=("C2:C4", "C5:C7"))
    assert manifest.table["label"].tolist() == ["joy"] * 3 + ["calm"] * 3
    assert any("merged cells: 4 rows" in note for note in manifest.reading.notes)


@pytest.mark.extras("openpyxl")
def test_titles_second_headers_and_sheets_of_notes_are_no_rows(tmp_path):
    with pytest.raises(ManifestError, match="row 2 looks like its header"):
        workbook(tmp_path, [["All emotions"], HEAD, *ROWS])
    with pytest.raises(ManifestError, match=r"row 8 .*: the names of the columns once more"):
        workbook(tmp_path, [HEAD, *ROWS, HEAD])
    with pytest.raises(ManifestError, match=r"row 2 .*: names of columns and no row"):
        workbook(tmp_path, [["id", "what", "which", "from", "to"], HEAD, *ROWS])
    assert len(workbook(tmp_path, [["see the next sheet"], ["made by x"]], [HEAD, *ROWS])) == 6
