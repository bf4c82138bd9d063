"""The ledger of all rounds: history row by row, Parquet and CSV alike, written late in big runs."""

import numpy as np
import pandas as pd
import pytest

import semi
from semi.errors import ConfigError
from semi.evaluation.text import run_words
from semi.files import read_table
from semi.runs.verify import verify
from semi.self_training import checkpoints, merged_ledger
from semi.self_training.merged_ledger import write_merged
from semi.self_training.run_dir import Run

REASONS = ("chosen", "below_threshold")


def drawn_rounds(folder, rows, labels, rounds=4):
    """Writes rounds of drawn ledgers; returns their paths and the rows as Python sees them."""
    draw, paths, lines = np.random.default_rng(rows), [], []
    for number in range(1, rounds + 1):
        chosen = draw.random(rows) < 0.5
        table = pd.DataFrame({
            "id": [f"{'=-'[i % 2]}u{i:03d}" for i in range(rows)],
            "round": number,
            "chosen": chosen,
            "accepted": chosen & bool(number % 3),
            "label": draw.choice(np.array(labels, dtype=object), rows) if labels else np.nan,
            "weight": draw.random(rows).astype(np.float32).round(6),
            "reason": np.where(chosen, *REASONS),
            "rule": "class_topk",
            "threshold": np.float32(0.5),
            "vote_speech": draw.choice(np.array(["a", None], dtype=object), rows),
        })  # fmt: skip
        paths.append(folder / f"round-{number:02d}.parquet")
        table.to_parquet(paths[-1], index=False)
        lines += table.to_dict("records")
    return paths, lines


def history_of(lines):
    """Returns first_round, last_round and flips of every line, one line after the other."""
    first, last, flips, before, found = {}, {}, {}, {}, []
    for line in lines:
        name = line["id"]
        if line["accepted"]:
            first.setdefault(name, line["round"])
            last[name] = line["round"]
        if name in before and isinstance(before[name], str) and line["label"] != before[name]:
            flips[name] = flips.get(name, 0) + 1
        before[name] = line["label"]
        found.append((first.get(name, -1), last.get(name, -1), flips.get(name, 0)))
    return found


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("labels", [("a", "b", "c"), ("a", "a;b"), ("a", "b", None), ()])
def test_history_is_that_of_a_slow_loop_whatever_the_size_of_pieces(
    tmp_path, monkeypatch, piece, labels
):
    monkeypatch.setattr(merged_ledger, "PIECE", piece)
    paths, lines = drawn_rounds(tmp_path, 23, labels)
    write_merged(paths, tmp_path, 23, as_csv=True)
    ledger = pd.read_parquet(tmp_path / "ledger.parquet")
    found = ledger[["first_round", "last_round", "flips"]].to_numpy().tolist()
    assert found == [list(row) for row in history_of(lines)]
    assert ledger["id"].tolist() == [line["id"] for line in lines]


@pytest.mark.parametrize("piece", [5, 1000])
def test_the_csv_holds_what_the_parquet_holds(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(merged_ledger, "PIECE", piece)
    paths, _ = drawn_rounds(tmp_path, 12, ("@joy", "b"))
    write_merged(paths, tmp_path, 12, as_csv=True)
    whole, text = pd.read_parquet(tmp_path / "ledger.parquet"), read_table(tmp_path / "ledger.csv")
    assert list(text) == list(whole)
    assert (tmp_path / "ledger.csv").read_text().count("\n") == len(whole) + 1
    for name, column in whole.items():
        given = text[name].tolist()
        if column.dtype == bool or not pd.api.types.is_numeric_dtype(column):
            assert given == ["" if v is None or v != v else str(v) for v in column], name
        else:
            assert np.allclose(np.array(given, float), column.to_numpy(), atol=0), name


def test_without_rounds_the_ledger_has_columns_and_no_rows(tmp_path):
    write_merged([], tmp_path, 9, as_csv=True)
    for name in ("ledger.csv", "ledger.parquet"):
        table = read_table(tmp_path / name)
        assert list(table)[:3] == ["id", "round", "chosen"] and not len(table)


def words(folder, name):
    return [
        "recipe=none", f"name={name}", f"runs_dir={folder}/runs", f"data.manifest={folder}/m.csv",
        f"features.store={folder}/store", "encoders.speech.model=none", "model.kind=discriminant",
        "train.folds=2", "rounds.max_rounds=2", "rounds.accept_se=9", "track=[]", "threads=1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledgers")
    lines = [
        f"u{i:03d},{'I am glad' if i % 2 else 'this is sad'} {i},"
        f"{('joy' if i % 2 else 'sorrow') if i < 30 else ''}"
        for i in range(60)
    ]
    (folder / "m.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    return folder


def trained(folder, name, *more, resume=False):
    config = semi.load_config(None, [*words(folder, name), *more])
    return semi.self_train(config, progress=False, resume=resume).path


def test_a_run_has_a_csv_where_it_is_asked_for_or_rows_are_few(table, monkeypatch):
    usual = trained(table, "usual")
    assert (usual / "ledger.csv").is_file() and "ledger.csv" in run_words(usual)
    asked = trained(table, "asked", "ledger=parquet")
    assert not (asked / "ledger.csv").exists() and "ledger.parquet" in run_words(asked)
    monkeypatch.setattr(checkpoints, "CSV_BELOW", 60)
    many = trained(table, "many")
    assert not (many / "ledger.csv").exists()
    for run in (asked, many):
        assert (run / "ledger.parquet").read_bytes() == (usual / "ledger.parquet").read_bytes()
    trained(table, "many", "ledger=csv", resume=True)  # of a finished run, when it is wanted
    assert (many / "ledger.csv").read_bytes() == (usual / "ledger.csv").read_bytes()
    assert not verify(many).problems


def test_a_big_run_writes_the_ledger_when_it_ends_and_the_same_after_a_kill(table, monkeypatch):
    usual = trained(table, "live")
    monkeypatch.setattr(checkpoints, "LIVE", 10)
    seen = []

    def stop(run, record):
        seen.append((run.path / "ledger.parquet").exists())
        if record["round"] == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(table, "late")
    assert seen == [False, False]
    late = trained(table, "late", resume=True)
    for name in ("ledger.csv", "ledger.parquet"):
        assert (late / name).read_bytes() == (usual / name).read_bytes()


def test_an_unknown_ledger_is_refused(table):
    with pytest.raises(ConfigError, match="must be one of auto, csv, parquet, got 'x'"):
        semi.load_config(None, [*words(table, "x"), "ledger=x"])
