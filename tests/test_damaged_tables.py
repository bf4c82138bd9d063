"""Tables with a few damaged bytes: no other row is read wrongly, and all rows are accounted for."""

import pytest

from semi.data.manifest import load_manifest
from semi.errors import ManifestError

GERMAN = "id,text,label\nu0,größe schön,joy\nu1,übel naïve,joy\nu2,ja été,calm\n"


def refused(path, data):
    """Returns the error of a table of these bytes."""
    path.write_bytes(data)
    with pytest.raises(ManifestError) as error:
        load_manifest(path)
    return error.value


@pytest.mark.parametrize("broken", [b"\xff", b"\xc3", b"\xe4", b"\x80"])
def test_one_broken_byte_does_not_make_other_letters_of_all_utf8(tmp_path, broken):
    data = GERMAN.encode().replace("été".encode(), b"\xc3\xa9t" + broken + b"x")
    said = str(refused(tmp_path / "m.csv", data))
    assert said.startswith(f"m.csv row 4: the byte {broken[0]:#04x} is no UTF-8, as the rest of")


def test_a_table_that_is_in_another_encoding_is_still_read_as_that(tmp_path):
    for encoding in ("cp1252", "utf-16"):
        (tmp_path / "m.csv").write_bytes(GERMAN.encode(encoding))
        texts = load_manifest(tmp_path / "m.csv").table["text"].tolist()
        assert texts == ["größe schön", "übel naïve", "ja été"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_half_a_utf16_letter_that_swaps_all_line_ends_is_refused(tmp_path, order, end):
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}[order]
    data = bytearray(mark + GERMAN.replace("\n", end).encode(order))
    at = data.index("übel".encode(order))
    del data[at]
    data += b"\x00"  # even again, so that it can be decoded
    said = str(refused(tmp_path / "m.csv", bytes(data)))
    assert said.startswith("m.csv row 3: half of a UTF-16 letter is lacking or too much there")


def test_a_refused_row_counts_though_blank_lines_stand_in_the_table(tmp_path):
    data = GERMAN.replace("u1,übel", '\nu1,"übel').encode()
    error = refused(tmp_path / "m.csv", data)
    assert (error.reading.rows, error.reading.total) == (2, 3)


def test_one_line_feed_in_a_text_does_not_end_the_header_of_a_table_with_cr(tmp_path):
    data = GERMAN.replace("\n", "\r").replace("übel naïve", "übel\nnaïve").encode()
    (tmp_path / "m.csv").write_bytes(data)
    read = load_manifest(tmp_path / "m.csv").table
    assert read["text"].tolist() == ["größe schön", "übel\nnaïve", "ja été"]
    assert read["label"].tolist() == ["joy", "joy", "calm"]
