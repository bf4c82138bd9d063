"""reviews.csv itself: appended, read back, cut off by a kill, saved by a spreadsheet, huge."""

import pytest

from semi.data.reviews import (
    COLUMNS,
    Review,
    append_review,
    list_of,
    read_reviews,
    standing,
)
from semi.errors import RunError

HEAD = ",".join(COLUMNS)


def test_what_was_appended_comes_back(tmp_path):
    path = tmp_path / "reviews.csv"
    names = ["Doe, Jo", 'the "boss"', "=1+1", "two\nlines", "a\u2028b", "Jürgen \U0001f600", ""]
    given = [Review(f"id;{k}", "label", "joy;calm", who) for k, who in enumerate(names)]
    for review in given:
        append_review(path, review)
    back = read_reviews(path)
    assert [r.reviewer for r in back] == [n.replace("\n", " ") for n in names]
    assert [r.id for r in back] == [r.id for r in given] and {r.label for r in back} == {"joy;calm"}
    assert all(r.time.endswith("+00:00") for r in back)


def test_a_line_that_a_kill_cut_off_eats_no_other(tmp_path):
    path = tmp_path / "reviews.csv"
    append_review(path, Review("a", "label", "joy", "x"))
    with open(path, "a") as file:
        file.write('b,label,"jo')  # within a quote
    append_review(path, Review("c", "unsure", "", "x"))
    assert [r.id for r in read_reviews(path)] == ["a", "c"]
    with open(path, "a") as file:
        file.write("d,label")
    assert [r.id for r in read_reviews(path)] == ["a", "c"]


@pytest.mark.parametrize("empty", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_holds_no_review(tmp_path, empty):
    (tmp_path / "r.csv").write_bytes(empty)
    assert read_reviews(tmp_path / "r.csv") == []


@pytest.mark.parametrize("delimiter", ";\t")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path, delimiter, encoding):
    given = [Review("ä1", "label", "joy", "Jörg"), Review("b", "bad_audio", "", 'J "x", y')]
    rows = [line.split(",") for line in list_of(given[:1]).splitlines()]
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n"
    text += delimiter.join(["b", "bad_audio", "", '"J ""x"", y"', "", "", "", "", "browse", "1"])
    (tmp_path / "r.csv").write_bytes(f"{text}\r\n".encode(encoding))
    assert read_reviews(tmp_path / "r.csv") == given


@pytest.mark.parametrize("head", ["foo,bar", "id,label", "a", "id"])
def test_a_file_with_another_header_is_refused(tmp_path, head):
    (tmp_path / "r.csv").write_text(f"{head}\nx,y\n")
    with pytest.raises(RunError, match=r"is no list of reviews: .* got "):
        read_reviews(tmp_path / "r.csv")


@pytest.mark.parametrize("line, told", [
    ("a,labl,joy", "line 3: verdict must be one of label, unsure, bad_audio, undo, got 'labl'"),
    (",unsure,", "line 3: id is empty"),
    ("a,label,", "line 3: label must be given with verdict label"),
    ("a,unsure,joy", "line 3: label must be given with verdict label"),
    ("a", "line 3: verdict must be one of"),
])  # fmt: skip
def test_a_line_that_is_no_review_is_named(tmp_path, line, told):
    (tmp_path / "r.csv").write_text(f"id,verdict,label\nok,unsure,\n{line}\nok,unsure,\n")
    with pytest.raises(RunError, match=told):
        read_reviews(tmp_path / "r.csv")


def test_nothing_is_added_below_a_header_that_is_not_ours(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(HEAD.replace(",", ";") + "\n")
    with pytest.raises(RunError, match="was saved by another program"):
        append_review(path, Review("a", "unsure"))
    path.write_bytes(f"\ufeff{HEAD}\r\n".encode())  # the same columns: fits
    append_review(path, Review("a", "unsure"))
    assert [r.id for r in read_reviews(path)] == ["a"]


def test_undo_takes_back_the_last_word_of_one_reviewer_alone():
    words = [Review("a", "label", "joy", "x"), Review("a", "label", "calm", "y"),
             Review("a", "unsure", "", "x"), Review("a", "undo", "", "x")]  # fmt: skip
    assert {who: w.label for who, w in standing(words)["a"].items()} == {"x": "joy", "y": "calm"}
    assert standing([*words, Review("a", "undo", "", "x")])["a"].keys() == {"y"}
