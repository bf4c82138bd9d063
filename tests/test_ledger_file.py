"""The ledger of a finished run as other commands read it: a round, some columns, few texts."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from semi.errors import RunError
from semi.evaluation.ledger_file import last_round, ledger_for_people, ledger_of
from semi.evaluation.report_picks import PICKS_LISTED, picks
from semi.evaluation.report_sounds import Utterances
from semi.review.history import history_of
from semi.self_training.merged_ledger import write_merged


def ledger(rows, rounds=2, seed=0, **columns):
    """Returns a ledger of many equal confidences and changes, its ids in no order."""
    draw = np.random.default_rng(seed)
    n = rows * rounds
    table = {
        "id": np.concatenate([draw.permutation([f"u{i:05d}" for i in range(rows)])] * rounds),
        "round": np.repeat(np.arange(1, rounds + 1), rows),
        "chosen": draw.random(n) < 0.7,
        "label": draw.choice(["joy", "anger"], n),
        "confidence": draw.integers(50, 60, n) / 100,
        "reason": draw.choice(["chosen", "below_threshold"], n),
        "flips": draw.integers(0, 3, n),
    }
    return pd.DataFrame(table | columns)


def write(folder, table):
    table.to_parquet(folder / "ledger.parquet", index=False)
    return folder


def test_a_round_and_some_columns_are_read_in_their_order(tmp_path):
    table = ledger(40)
    own = ledger_of(write(tmp_path, table), ("id", "chosen"), ("label", "none"), 2)
    own_rows: Any = table[table["round"] == 2]
    expected = own_rows[["id", "chosen", "label"]].reset_index(drop=True)
    assert own["label"].dtype == "category" and own["id"].dtype == "category"
    pd.testing.assert_frame_equal(own.astype({"id": str, "label": str}),
                                  expected.astype({"id": str, "label": str}))  # fmt: skip
    assert list(ledger_of(tmp_path, ("id",), None)) == list(table)
    assert len(ledger_of(tmp_path, ("id",))) == 80 and last_round(tmp_path) == 2


def test_what_a_ledger_lacks_is_a_sentence(tmp_path):
    write(tmp_path, ledger(3).drop(columns="label"))
    with pytest.raises(RunError, match=r"ledger\.parquet lacks the column label; "):
        ledger_of(tmp_path, ("id", "label"))
    (tmp_path / "ledger.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(RunError, match=r"ledger\.parquet is damaged or not a table"):
        ledger_of(tmp_path, ("id",))
    (tmp_path / "ledger.parquet").unlink()
    with pytest.raises((RunError, FileNotFoundError), match=r"ledger\.parquet"):
        ledger_of(tmp_path, ("id",))
    assert last_round(tmp_path) == 0


def test_a_run_without_rounds_has_an_empty_ledger(tmp_path):
    write_merged([], tmp_path, 0, as_csv=False)
    assert last_round(tmp_path) == 0
    assert len(ledger_of(tmp_path, ("id", "chosen"), None, 1)) == 0
    history = history_of(tmp_path, np.array(["a", "b"]))
    assert history.of(0) == history.of(1) == []


def test_people_are_sent_to_the_csv_where_there_is_one(tmp_path):
    assert ledger_for_people(tmp_path).name == "ledger.csv"
    write(tmp_path, ledger(3))
    assert ledger_for_people(tmp_path).name == "ledger.parquet"
    (tmp_path / "ledger.csv").touch()
    assert ledger_for_people(tmp_path).name == "ledger.csv"


def test_the_history_of_an_utterance_is_its_lines_by_round(tmp_path):
    table = ledger(30, rounds=3, label=None)
    table["label"] = [None if i % 7 == 0 else f"c{i % 3}" for i in range(len(table))]
    write(tmp_path, table.sample(frac=1, random_state=0))
    ids = np.array(sorted([*set(table["id"]), "a-gold-row"]))
    history = history_of(tmp_path, ids)
    assert history.of(0) == []
    for number, name in enumerate(ids.tolist()):
        lines: Any = table[table["id"] == name]
        lines = lines.sort_values("round")
        found = history.of(number)
        for column in ("round", "label", "confidence", "chosen", "reason"):
            given = [None if v != v or v is None else v for v in lines[column].tolist()]
            assert [line[column] for line in found] == given, column
    with pytest.raises(RunError, match="names utterances that the table of the run does not have"):
        history_of(tmp_path, ids[:-3])


def slowly(table, listed):
    """Returns the ids that a report lists, by sorting every row of the round."""
    rows = table.to_dict("records")
    doubtful = sorted(rows, key=lambda r: (r["confidence"], r["id"]))
    flipped = sorted((r for r in rows if r["flips"]), key=lambda r: (-r["flips"], r["id"]))
    ids = list(dict.fromkeys(r["id"] for r in [*doubtful[: listed // 2], *flipped[: listed // 2]]))
    more = (r["id"] for r in doubtful[listed // 2 :] if r["id"] not in ids)
    return ids + [name for name, _ in zip(more, range(listed - len(ids)), strict=False)]


@pytest.mark.parametrize("rows", [0, 1, 5, 30, 3000])
@pytest.mark.parametrize("flips", [True, False])
def test_the_report_lists_the_rows_that_a_whole_sort_would(tmp_path, rows, flips):
    table = ledger(rows, seed=rows)
    table["flips"] *= flips
    write(tmp_path, table)
    own = table[(table["round"] == 2) & table["chosen"]]
    found = picks(tmp_path, 2, Utterances(None))
    assert [row.id for row in found.rows] == slowly(own, PICKS_LISTED)
    assert found.more == len(own) - len(found.rows)


def test_only_the_utterances_that_are_asked_for_are_looked_up():
    ids = [f"u{i}" for i in range(2000)]
    table = pd.DataFrame({"id": ids, "text": [f"text {i}" for i in ids], "label": None})
    utterances = Utterances(table)
    utterances.look_up(["u7", "u1999", "absent"])
    assert [utterances.text(i) for i in ("u7", "u1999", "absent", "u3")] == [
        "text u7", "text u1999", "", "text u3",
    ]  # fmt: skip
    assert utterances.speaker("u7") == utterances.clip("u7") == ""
    assert Utterances(None).text("u7") == ""
