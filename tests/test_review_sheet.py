"""Reviews by hand: a table given away, filled in with any program, brought back once."""

import csv
import shutil

import pandas as pd
import pytest

from semi.cli import main
from semi.data.reviews import Review, append_reviews, list_of, read_reviews, standing
from semi.errors import RunError
from semi.files import read_json
from semi.review.importing import import_reviews
from semi.review.round_trip import export_reviews


@pytest.fixture
def run(runs, tmp_path):
    """A copy of run a that nobody reviewed."""
    shutil.copytree(runs[0], tmp_path / "a")
    return tmp_path / "a"


def sheet(run, count=None, **options):
    """Returns the exported table, and where it is."""
    path = run.parent / "fill.csv"
    export_reviews(run, "csv", path, count=count, **options)
    return pd.read_csv(path, keep_default_na=False, dtype=str), path


def fill(table, path, labels, **how):
    table["label"] = [*labels, *[""] * (len(table) - len(labels))]
    table.to_csv(path, index=False, **how)
    return path


def words(run):
    return {
        (name, who): (w.verdict, w.label)
        for name, by in standing(read_reviews(run / "reviews.csv")).items()
        for who, w in by.items()
    }


def test_the_pool_is_given_away_with_what_the_machine_said(run):
    table, path = sheet(run)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfid,audio,text,")
    sides = pd.read_csv(run / "splits.csv")
    pool = {i for i, role in zip(sides["id"], sides["role"], strict=True) if role == "pool"}
    assert set(table["id"]) == pool
    assert set(table["label"]) == {""} and set(table["run"]) == {"a"}
    assert set(table["machine_label"]) <= {"joy", "anger", "calm"}
    assert table["pick"].tolist()[:5] == ["next"] * 4 + ["random"]


def test_what_was_filled_in_comes_back_once(run, capsys):
    table, path = sheet(run, count=8)
    assert len(table) == 8
    fill(table, path, ["joy", "", "unsure", "Bad audio", "anger;calm"])
    assert main(["review", str(run), "--import", str(path), "--reviewer", 'Doe, "Jo"']) == 0
    told = f'{path}: 4 reviews read of Doe, "Jo", 4 new, 0 there already, 0 refused; '
    assert capsys.readouterr().out.startswith(told)
    who = 'Doe, "Jo"'
    ids = table["id"].tolist()
    assert words(run) == {
        (ids[0], who): ("label", "joy"), (ids[2], who): ("unsure", ""),
        (ids[3], who): ("bad_audio", ""), (ids[4], who): ("label", "anger;calm"),
    }  # fmt: skip
    first = read_reviews(run / "reviews.csv")[0]
    assert (first.machine_label, first.pick) == (table["machine_label"][0], "next")
    assert read_reviews(run / "reviews.csv")[3].pick == "random"
    again = import_reviews(run, path, reviewer=who)
    assert (again.new, again.known) == (0, 4)
    assert len(read_reviews(run / "reviews.csv")) == 4


@pytest.mark.parametrize("how", [
    {"sep": ";"}, {"sep": "\t"}, {"encoding": "utf-8-sig"}, {"encoding": "utf-16"},
    {"lineterminator": "\r\n"}, {"quoting": csv.QUOTE_ALL}, {"sep": ";", "encoding": "cp1252"},
])  # fmt: skip
def test_any_spreadsheet_may_have_saved_it(run, how):
    table, path = sheet(run, count=3)
    table["reviewer"] = "Jörg"
    fill(table, path, ["joy", "calm", "anger"], **how)
    assert import_reviews(run, path).reviewers == ["Jörg"]
    assert [r.label for r in read_reviews(run / "reviews.csv")] == ["joy", "calm", "anger"]


@pytest.mark.extras("openpyxl")
def test_an_excel_workbook_comes_in_as_it_is(run):
    table, _ = sheet(run, count=2)
    path = run.parent / "fill.xlsx"
    table.assign(label=["joy", "unsure"], reviewer="x").to_excel(path, index=False)
    assert import_reviews(run, path).new == 2


def test_a_random_row_that_was_looked_for_before_counts_when_it_comes_back(run):
    table, path = sheet(run, count=10)
    drawn = table["id"][table["pick"] == "random"].tolist()
    append_reviews(
        run / "reviews.csv", [Review(i, "label", "joy", "x", pick="next") for i in drawn]
    )
    fill(table, path, ["joy"] * 10)
    found = import_reviews(run, path, reviewer="x")
    assert (found.new, found.known) == (10, 0)
    picks = {r.id: r.pick for r in read_reviews(run / "reviews.csv")}
    assert [picks[i] for i in drawn] == ["random"] * 2
    assert import_reviews(run, path, reviewer="x").new == 0
    fill(table.assign(pick="browse"), path, ["joy"] * 10)
    assert import_reviews(run, path, reviewer="x").new == 0


def test_a_row_that_stands_twice_is_told(run):
    name = sheet(run, count=1)[0]["id"].tolist()[0]
    path = run.parent / "twice.csv"
    path.write_text(f"id,label\n{name},joy\n{name},calm\n")
    found = import_reviews(run, path, reviewer="x")
    assert "1 overruled by a later line of the same reviewer" in str(found)
    assert words(run) == {(name, "x"): ("label", "calm")}


def test_who_is_not_named_is_called_by_the_file_and_told(run):
    table, path = sheet(run, count=1)
    found = import_reviews(run, fill(table, path, ["joy"]))
    assert found.reviewers == ["fill"] and "its name stands for the reviewer" in str(found)


def test_two_columns_are_enough_and_other_headers_do(run):
    names = sheet(run, count=2)[0]["id"].tolist()
    path = run.parent / "two.csv"
    path.write_text(f"ID;Label\n{names[0]};joy\n{names[1]};calm\n")
    assert import_reviews(run, path, reviewer="x").new == 2
    assert {r.pick for r in read_reviews(run / "reviews.csv")} == {"import"}


def test_each_line_that_is_no_review_is_refused_and_told(run):
    name = sheet(run, count=1)[0]["id"].tolist()[0]
    path = run.parent / "wrong.csv"
    path.write_text(f"id,label\n{name},Joy\nnobody,joy\n,joy\n{name},calm\n")
    found = import_reviews(run, path, reviewer="x")
    assert (found.read, found.new, len(found.refused)) == (4, 1, 3)
    said = str(found)
    assert f"refused: 'Joy' is none of its classes; did you mean 'joy'? (1: {name})" in said
    assert "refused: no row of this run (1: nobody)" in said
    assert "refused: id is empty (1: row 4)" in said


def test_a_mind_changed_on_the_page_is_not_changed_back_by_an_old_file(run):
    table, path = sheet(run, count=1)
    fill(table, path, ["joy"])
    import_reviews(run, path, reviewer="x")
    name = table["id"].tolist()[0]
    append_reviews(run / "reviews.csv", [Review(name, "label", "calm", "x")])
    assert import_reviews(run, path, reviewer="x").known == 1
    old = Review(name, "label", "anger", "x", "2020-01-01T00:00:00Z")
    (run.parent / "page.csv").write_text(list_of([old]))
    found = import_reviews(run, run.parent / "page.csv")
    assert (found.new, found.older) == (0, 1)
    assert "1 older than what the same reviewer said since" in str(found)
    assert words(run) == {(name, "x"): ("label", "calm")}


def test_reviews_of_another_folder_come_as_they_are(run, tmp_path):
    names = sheet(run, count=3)[0]["id"].tolist()
    machine = ("old", "calm", "0.5", "random")
    lines = [
        Review(names[0], "label", "joy", 'a, "b"', "2026-01-01T00:00:00+02:00", *machine),
        Review(names[1], "unsure", "", "c", "2026-01-01T00:00:00Z"),
        Review(names[1], "undo", "", "c", "2026-01-01T00:00:01Z"),
    ]
    (tmp_path / "other.csv").write_text(list_of(lines))
    assert import_reviews(run, tmp_path / "other.csv").new == 3
    back = read_reviews(run / "reviews.csv")
    assert back[0] == lines[0] and back[1].run == "a"
    assert list(standing(back)) == [names[0]]
    assert import_reviews(run, tmp_path / "other.csv").known == 3


def test_a_list_names_the_rows(run, tmp_path):
    names = sheet(run)[0]["id"].tolist()[5:8]
    rows = pd.DataFrame({"id": names, "pick": ["random", "next", "strange"]})
    rows.to_csv(tmp_path / "next.csv", index=False)
    table, _ = sheet(run, rows=str(tmp_path / "next.csv"))
    assert table["id"].tolist() == names
    assert table["pick"].tolist() == ["random", "next", "browse"]


@pytest.mark.parametrize("content, told", [
    ("", "the file is empty"),
    ("foo,bar\n1,2\n", "has no column id and no column label; name a table with columns id and"),
    ("id,text\n1,2\n", "has no column label; name a table"),
    ("id,verdict\nx,perhaps\n", "line 2: verdict must be one of"),
])  # fmt: skip
def test_a_file_that_is_no_review_is_refused_in_one_sentence(run, capsys, content, told):
    path = run.parent / "f.csv"
    path.write_text(content)
    assert main(["review", str(run), "--import", str(path)]) == 2
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said and said.count("\n") == 1
    assert not (run / "reviews.csv").exists()


def test_an_import_without_a_label_says_so(run):
    table, path = sheet(run, count=2)
    found = import_reviews(run, fill(table, path, []))
    assert str(found).startswith(f"{path}: 0 reviews read, 0 new")
    assert not (run / "reviews.csv").exists()


@pytest.mark.parametrize("words, told", [
    (["--export", "xlsx", "f.xlsx"], "--export writes csv or label-studio, got 'xlsx'"),
    (["--export", "csv", "f.json"], "--export csv writes a file such as rows.csv, got 'f.json'"),
    (["--export", "label-studio", "f.csv"], "--export label-studio writes a file such as"),
    (["--export", "csv", "f.csv", "-n", "0"], "-n must be 1 or more, got 0"),
    (["--export", "csv", "f.csv", "--rows", "no.csv"], "no.csv: No such file or directory"),
    (["--import", "no.csv"], "no.csv: no such file"),
    (["--import", "."], ".: is a folder; name the file in it"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(run, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["review", str(run), *words]) == 2
    assert told in capsys.readouterr().err


def test_a_list_of_other_rows_is_refused(run, tmp_path):
    (tmp_path / "next.csv").write_text("id\nnobody\n")
    with pytest.raises(RunError, match=r"names 1 row that .*a does not have: nobody"):
        sheet(run, rows=str(tmp_path / "next.csv"))
    (tmp_path / "next.csv").write_text("name\nu1\n")
    with pytest.raises(RunError, match="has no column id"):
        sheet(run, rows=str(tmp_path / "next.csv"))


def test_a_hundred_thousand_lines_come_in_at_once(run):
    names = sheet(run)[0]["id"].tolist()
    path = run.parent / "many.csv"
    path.write_text("id,label,reviewer\n" + "".join(
        f"{names[k % len(names)]},joy,r{k // len(names)}\n" for k in range(100_000)))  # fmt: skip
    assert import_reviews(run, path).new == 100_000
    assert import_reviews(run, path).known == 100_000


def test_rows_that_were_reviewed_are_not_given_away_again(run, capsys):
    table, path = sheet(run)
    every = table["id"].tolist()
    first, second, *_ = every
    drawn = table["id"][table["pick"] == "random"].tolist()
    lines = [
        Review(first, "label", "joy", "Ann"),
        Review(second, "unsure", "", "Ben"),
        Review(drawn[0], "label", "joy", "Ann", pick="browse"),
        Review(drawn[1], "label", "joy", "Ben", pick="random"),
        Review(table["id"][2], "label", "joy", "Ann"),
        Review(table["id"][2], "undo", "", "Ann"),
    ]
    append_reviews(run / "reviews.csv", lines)
    for words, left in ((["--reviewer", "Ann"], {first, drawn[1]}), ([], {first, second, drawn[1]}),
                        (["--all"], set())):  # fmt: skip
        assert main(["review", str(run), "--export", "csv", str(path), *words]) == 0
        given = pd.read_csv(path, dtype=str, encoding="utf-8-sig")["id"].tolist()
        assert given == [name for name in every if name not in left]
        said = capsys.readouterr().out
        by = " by Ann" if "Ann" in words else ""
        told = f"{len(left)} rows left out: reviewed{by}; --all takes them, too"
        assert (told in said) == bool(left)


def test_where_all_rows_are_reviewed_the_export_says_so(run, capsys):
    table, path = sheet(run)
    append_reviews(
        run / "reviews.csv",
        [
            Review(n, "label", "joy", "Ann", pick=p)
            for n, p in zip(table["id"], table["pick"], strict=True)
        ],
    )
    assert main(["review", str(run), "--export", "csv", str(path)]) == 2
    told = f"all {len(table)} rows are reviewed already; --all takes them, too"
    assert told in capsys.readouterr().err
    assert main(["review", str(run), "--static", str(run.parent / "p.html")]) == 2
    assert told in capsys.readouterr().err


def test_of_gold_rows_nobody_is_told_what_to_confirm(run, tmp_path):
    sides = pd.read_csv(run / "splits.csv", dtype=str)
    gold = sides["id"][sides["role"] == "labeled"].head(3).tolist()
    pool = sides["id"][sides["role"] == "pool"].head(2).tolist()
    pd.DataFrame({"id": [*gold, *pool]}).to_csv(tmp_path / "rows.csv", index=False)
    table, _ = sheet(run, rows=str(tmp_path / "rows.csv"))
    assert table["machine_label"].ne("").tolist() == [False] * 3 + [True] * 2
    assert table["machine_confidence"].ne("").tolist() == [False] * 3 + [True] * 2
    export_reviews(run, "label-studio", tmp_path / "t.json", rows=str(tmp_path / "rows.csv"))
    tasks = read_json(tmp_path / "t.json")
    assert ["predictions" in task for task in tasks] == [False] * 3 + [True] * 2
