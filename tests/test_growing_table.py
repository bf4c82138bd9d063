"""A table written part by part: as `write_table` writes it, or nothing at all."""

import numpy as np
import pandas as pd
import pytest

from semi.errors import RunError
from semi.files import write_table
from semi.runs.growing_table import growing_table

KINDS = [".csv", ".tsv", ".jsonl", ".parquet"]


def answers(rows=25):
    """Returns a table of what answers hold: formulas, quotes, blanks, numbers that are unknown."""
    draw = np.random.default_rng(0)
    label = ["=joy", None, "an, ger", 'a "b"\nc', "슬픔"]
    return pd.DataFrame(
        {
            "id": [f"-u{i}" for i in range(rows)],
            "row": np.arange(rows),
            "label": [label[i % 5] for i in range(rows)],
            "confidence": np.where(draw.random(rows) < 0.2, np.nan, draw.random(rows)),
            "@note": "",
        }
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 25, 40])
def test_parts_come_to_the_table_that_is_written_at_once(tmp_path, kind, size):
    table = answers()
    write_table(tmp_path / f"once{kind}", table)
    with growing_table(tmp_path / f"parts{kind}") as add:
        for start in range(0, len(table), size):
            assert not (tmp_path / f"parts{kind}").exists()
            add(table.iloc[start : start + size])
    if kind == ".parquet":
        once, parts = (pd.read_parquet(tmp_path / f"{n}{kind}") for n in ("once", "parts"))
        pd.testing.assert_frame_equal(once, parts)
    else:
        assert (tmp_path / f"once{kind}").read_bytes() == (tmp_path / f"parts{kind}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_empty_in_the_first_part_has_texts_in_the_next(tmp_path, kind):
    table = answers()
    table["label"] = [None] * 10 + ["joy"] * 15
    with growing_table(tmp_path / f"a{kind}") as add:
        add(table.iloc[:10])
        add(table.iloc[10:])
    read = {".parquet": pd.read_parquet, ".jsonl": lambda p: pd.read_json(p, lines=True)}
    found = read.get(kind, lambda p: pd.read_csv(p, sep=None, engine="python"))(
        tmp_path / f"a{kind}"
    )
    assert found["label"].isna().tolist() == [True] * 10 + [False] * 15
    assert set(found["label"].dropna()) == {"joy"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_off_leaves_the_table_of_before_and_no_part(tmp_path, kind):
    write_table(tmp_path / f"a{kind}", answers(3))
    before = (tmp_path / f"a{kind}").read_bytes()
    with pytest.raises(KeyError), growing_table(tmp_path / f"a{kind}") as add:
        add(answers())
        raise KeyError("the next part")
    assert (tmp_path / f"a{kind}").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_no_rows_has_its_header(tmp_path, kind):
    for name in ("once", "parts"):
        if name == "once":
            write_table(tmp_path / f"once{kind}", answers(0))
        else:
            with growing_table(tmp_path / f"parts{kind}") as add:
                add(answers(0))
    if kind == ".parquet":
        assert list(pd.read_parquet(tmp_path / "parts.parquet")) == list(answers(0))
    else:
        once, parts = ((tmp_path / f"{n}{kind}").read_text().strip() for n in ("once", "parts"))
        assert once == parts


def test_what_cannot_be_written_is_said_before_the_first_part(tmp_path):
    for path, words in (("a.xlsx", "cannot write '.xlsx'"), (".", "is a folder")):
        with pytest.raises(RunError, match=words), growing_table(tmp_path / path):
            raise AssertionError("it went on")


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_at_all_are_the_same_file_in_both_ways(tmp_path, kind):
    none = answers().iloc[:0]
    write_table(tmp_path / f"once{kind}", none)
    with growing_table(tmp_path / f"parts{kind}") as add:
        add(none)
    once, parts = (tmp_path / f"{name}{kind}" for name in ("once", "parts"))
    if kind == ".parquet":
        assert list(pd.read_parquet(once)) == list(pd.read_parquet(parts)) == list(none)
    else:
        assert once.read_bytes() == parts.read_bytes()
