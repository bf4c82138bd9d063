"""Delimited tables: rows in = rows out, whatever quotes people leave open."""

import csv
import io
import random

import pytest

from semi.data.corpora.files import Tree, read_rows
from semi.data.corpora.meld import read_meld
from semi.data.delimited import read_records, split_lines, squared
from semi.data.manifest import load_manifest
from semi.errors import ManifestError

QUOTES = """id,text,label,speaker
u0,fine day,joy,s0
u1,"Oh my god he said,anger,s1
u2,go away,anger,s2
u3,tears again,sad,s3
u4,love it,joy,s4
u5,"What is it,sad,s5
u6,nothing,sad,s6
u7,so nice,joy,s7
u8,5" nail,anger,s8
"""


def put(folder, content, name="m.csv"):
    path = folder / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


def error_of(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_a_quote_that_never_closes_is_a_problem_that_names_its_row(tmp_path, delimiter):
    message = error_of(put(tmp_path, QUOTES.replace(",", delimiter)))
    assert message.startswith("2 problems in ")
    for row, start in ((3, "u1"), (7, "u5")):
        assert f"m.csv row {row} '{start}{delimiter}\"" in message
    assert "a cell opens with a double quote that is never closed on its row; close" in message


def test_in_tsv_a_quote_that_closes_nothing_is_a_letter(tmp_path):
    table = load_manifest(put(tmp_path, QUOTES.replace(",", "\t"), "m.tsv")).table
    assert len(table) == 9
    assert (
        table["text"].tolist()[1] == '"Oh my god he said' and table["text"].tolist()[8] == '5" nail'
    )
    assert table["label"].tolist() == [
        "joy",
        "anger",
        "anger",
        "sad",
        "joy",
        "sad",
        "sad",
        "joy",
        "anger",
    ]


@pytest.mark.parametrize(
    "swallowed",
    [
        'u1,"Oh my god,anger,s1\nu2,he said,sad,s2\nu3,what is it",sad,s3',  # closed far below
        'u1,"Oh my god,anger,s1\nu2,5",sad,s2',  # by an inch mark
        'u1,"Oh my god,anger,s1"\nu2,he,sad,s2',  # on its own line, behind the other cells
        'u1,fine,joy,"s1\nu2,ok,sad,s2"',  # in the last column
        '"u1,fine,joy,s1\nu2",ok,sad,s2',  # in the first
        'u1,"Oh,anger,s1\n\nu2,he said",sad,s2',  # over a blank line
        'u1,"Oh,anger,s1\nu2,"no, no",sad,s2\nu3,so",joy,s3',  # over a quoted cell
        'u1,"Oh,anger,s1',  # at the end of the file
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_that_a_quote_would_eat_are_never_lost_without_a_word(tmp_path, swallowed, end):
    text = f"id,text,label,speaker\nu0,a,joy,s0\n{swallowed}\nu9,z,joy,s9\n".replace("\n", end)
    assert "m.csv row 3 '" in error_of(put(tmp_path, text))


def test_many_open_quotes_are_all_named_and_no_row_beside_them_is(tmp_path):
    rows = [f"u{i},{chr(34) * (i % 100 == 7)}text {i},{'ab'[i % 2]},s{i}" for i in range(1000)]
    path = put(tmp_path, "\n".join(["id,text,label,speaker", *rows]) + "\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert [p.row for p in caught.value.problems] == [i + 2 for i in range(7, 1000, 100)]
    assert caught.value.reading.rows == 990 and caught.value.reading.total == 1000


CELLS = [
    "a",
    "two\nlines",
    "Hello, you\nand, well, you",
    'she said "no, no"',
    "",
    ' "5"" ',
    "x\n\ny",
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_a_proper_writer_quotes_reads_back(delimiter, width, quoting):
    rows = [[f"u{i}", cell, "joy", "s1"][:width] for i, cell in enumerate(CELLS)]
    rows = [["id", "text", "label", "speaker"][:width], *rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows(rows)
    found = read_records(split_lines(text.getvalue()), delimiter)
    assert ([list(cells) for cells in found.cells], found.faults) == (rows, [])


def careless(draw):
    """Returns rows whose texts hold quotes anywhere, as one who quotes nothing leaves them."""
    delimiter, width = draw.choice(",;\t|"), draw.randint(2, 5)
    rows = [[f"c{k}_{i}" for k in range(width)] for i in range(draw.randint(2, 12))]
    at = draw.randrange(width)
    for row in rows:
        row[at] = draw.choice(["fine day", "it is", "oh", "", "5 nail"])
        for _ in range(draw.choice([0, 0, 1, 1, 2, 3])):
            i = draw.choice([0, len(row[at]), draw.randint(0, len(row[at]))])
            row[at] = row[at][:i] + '"' + row[at][i:]
    return delimiter, at, rows


def test_whatever_quotes_stand_where_no_row_is_lost_or_shifted_without_a_fault():
    draw = random.Random(0)
    certain = 0
    for _ in range(4000):
        delimiter, at, rows = careless(draw)
        head = [f"h{k}" for k in range(len(rows[0]))]
        lines = [delimiter.join(row) for row in [head, *rows]]
        found = squared(read_records(lines, delimiter), delimiter)
        if found.faults:
            continue
        certain += 1
        read = [list(cells) for cells in found.cells[1:]]
        assert len(read) == len(rows), lines
        for row, cells in zip(rows, read, strict=True):
            closed = row[at][1:-1].replace('""', '"') if row[at][:1] == row[at][-1:] == '"' else ""
            assert cells[at] in (row[at], closed), lines
            assert [c for k, c in enumerate(cells) if k != at] == [
                c for k, c in enumerate(row) if k != at
            ], lines
    assert certain > 1000


def test_quotes_escaped_by_a_backslash_are_read_and_paths_keep_theirs():
    lines = ["id,text", 'a,"she said \\"no, no\\""']
    assert read_records(lines, ",").cells[1] == ("a", 'she said "no, no"')
    lines = ["id,path", '"a","C:\\data\\x.wav"']
    assert read_records(lines, ",").cells[1] == ("a", "C:\\data\\x.wav")


def test_letters_that_unicode_calls_line_ends_do_not_end_a_row(tmp_path):
    text = "id,text,label\na,one\u2028two\x85three\x0bfour,joy\nb,x,sad\n"
    table = load_manifest(put(tmp_path, text)).table
    assert table["text"].tolist() == ["one\u2028two\x85three\x0bfour", "x"]


def test_rows_that_end_early_are_read_and_told(tmp_path):
    manifest = load_manifest(put(tmp_path, "id,text,label,speaker\na,x,joy\nb,y,sad,s1\n"))
    assert manifest.table["speaker"].tolist() == [None, "s1"]
    assert "fewer cells than the header in 1 row (first: row 2)" in manifest.notes[0]


def test_a_sheet_of_a_corpus_with_an_open_quote_is_refused_by_its_row(tmp_path):
    with pytest.raises(ManifestError, match=r"m.csv row 3 'u1,\"Oh my god"):
        read_rows(put(tmp_path, QUOTES))


def test_meld_loses_no_sentence_to_an_open_quote(tmp_path):
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    good = '1,"Well,\x85 yes",Joey,joy,positive,0,0\n2,No\x85 way,Ross,anger,negative,0,1\n'
    put(tmp_path, head + good, "train_sent_emo.csv")
    table, _ = read_meld(Tree(tmp_path))
    assert table["text"].tolist() == ["Well,… yes", "No… way"]
    put(tmp_path, head + '0,"Oh,Joey,joy,positive,0,2\n' + good, "train_sent_emo.csv")
    with pytest.raises(ManifestError, match=r"train_sent_emo.csv row 2 '0,\"Oh,Joey"):
        read_meld(Tree(tmp_path))
