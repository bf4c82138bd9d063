"""Programs under benchmarks/ on labelling and on wrong labels run as they are called."""

import csv

import numpy as np
import pytest
from test_benchmark_programs import run


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Returns a folder with a corpus of numbers whose classes lie apart in three views."""
    folder = tmp_path_factory.mktemp("corpora")
    draw = np.random.default_rng(0)
    label = np.arange(150) % 3
    views = np.eye(3)[label].repeat(4, 1) + draw.normal(0, 0.6, (3, 150, 12))
    speakers = (np.arange(150) // 10).astype(str)
    names = dict(zip(("speech", "text", "video"), views, strict=True))
    ids = np.array([f"u{k:03d}" for k in range(150)])
    np.savez(folder / "mosi.npz", id=ids, label=label.astype(str), speaker=speakers, **names)
    return folder


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_rule_begins_alike_and_a_second_call_goes_on(corpora, tmp_path):
    cells = tmp_path / "cells.csv"
    words = [str(corpora), str(cells), "--corpora", "mosi", "--seeds", "0", "1", "--quick",
             "--step", "10", "--most", "30"]  # fmt: skip
    run("labelling.py", *words, "--rules", "random", "badge/2")
    rows = rows_of(cells)
    first = {(r["seed"], r["rule"]): r["macro_f1"] for r in rows if r["labels"] == "9"}
    assert len(first) == 4
    assert all(first[s, "random"] == first[s, "badge/2"] for s in "01")
    assert sorted({int(r["labels"]) for r in rows}) == [9, 19, 30]
    run("labelling.py", *words, "--rules", "random", "margin")
    assert rows_of(cells)[: len(rows)] == rows
    assert {r["rule"] for r in rows_of(cells)[len(rows) :]} == {"margin"}
    run("labelling.py", *words[:6], *words[7:], "--rules", "flips", "next:stratified")
    assert {r["labels"] for r in rows_of(cells) if r["rule"] == "flips"} == {"9", "19", "30"}
    plot = tmp_path / "plot.png"
    lines = run("labelling_table.py", str(cells), "--plot", str(plot))
    assert lines[0] == "| rule | mosi | all |" and plot.stat().st_size < 100_000
    assert {line.split(" | ")[0] for line in lines[3:]} == {
        "| badge/2", "| margin", "| flips", "| next:stratified",
    }  # fmt: skip


def test_batches_can_cost_what_they_are_long(corpora, tmp_path):
    names = np.load(corpora / "mosi.npz")["id"].tolist()
    table = tmp_path / "seconds.csv"
    table.write_text("id,seconds\n" + "".join(f"{n},{1 + k % 4}\n" for k, n in enumerate(names)))
    words = [str(corpora), str(tmp_path / "cells.csv"), "--corpora", "mosi", "--seeds", "0",
             "--quick", "--step", "10", "--most", "30", "--seconds", str(table)]  # fmt: skip
    run("labelling.py", *words, "--rules", "next:random", "next:stratified")
    rows = rows_of(tmp_path / "cells.csv")
    assert [int(r["labels"]) for r in rows] == [9, 19, 30] * 2
    counts = {r["rule"]: int(r["rows"]) for r in rows}  # of the last step
    assert counts["next:random"] < counts["next:stratified"]  # which prefers short ones


def test_strategies_of_another_library_are_left_out_with_a_sentence(corpora, tmp_path):
    try:
        import skactiveml  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        pass
    else:
        pytest.skip("scikit-activeml is installed here")
    words = ["--corpora", "mosi", "--seeds", "0", "--quick", "--rules", "sa_badge"]
    lines = run("labelling.py", str(corpora), str(tmp_path / "cells.csv"), *words)
    assert lines == ["scikit-activeml is not installed: sa_badge left out"]
    assert not (tmp_path / "cells.csv").exists()


def test_wrong_labels_are_found_and_put_right(corpora, tmp_path):
    cells = tmp_path / "cells.csv"
    run("suspects.py", str(corpora), str(cells), "--corpora", "mosi", "--seeds", "0", "--quick")
    rows = rows_of(cells)
    assert {(r["kind"], r["rate"]) for r in rows} == {
        (kind, rate) for kind in ("uniform", "confusion", "careless")
        for rate in ("0.05", "0.1", "0.2")
    }  # fmt: skip
    assert all(float(r["auc_normalized_margin"]) > 90 for r in rows if r["kind"] == "uniform")
    assert all(int(r["errors"]) in (4, 8, 16) for r in rows)
    lines = run("suspects_table.py", str(cells))
    assert lines[0].startswith("| errors | % | self_confidence: precision; AUC |")
    assert any(line.startswith("| mosi | 20 |") for line in lines)
