"""Labels, ids and texts are data: whatever they spell, a run with tracking and a report works."""

import csv
import html
import shutil

import numpy as np
import pandas as pd
import pytest
from two_runs import settings

import semi
from semi.evaluation import figures
from semi.files import read_table
from semi.runs.compare import compare
from semi.runs.export import export
from semi.runs.verify import verify

CLASSES = ["100% $\\undefinedcmd$", "a/b", "<b>&amp", "=1+1", "..", "😡 wütend"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Returns a folder with a run whose classes, ids and speakers spell all sorts of things."""
    folder = tmp_path_factory.mktemp("strange")
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"{CLASSES[k % 6]}/../{k}", "label": CLASSES[k % 6], "speaker": f"$\\x_{k % 7}$ <i>",
         "text": f"<script>{k}</script> $\\frac$ {'xyzuvw'[k % 6] * 3} {rng.integers(9)}"}
        for k in range(120)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    words = ["tracking=true", "rounds.accept_se=99", "train.steps=40"]
    semi.self_train(settings(folder, "a", *words), progress=False)
    return folder


def test_a_run_shows_and_keeps_every_label_as_it_was_given(home):
    run = home / "runs" / "a"
    assert semi.load(run).classes == sorted(CLASSES)
    ledger = read_table(run / "ledger.csv")
    assert len(ledger) and set(ledger["label"]) <= set(CLASSES)
    every = {f"{CLASSES[k % 6]}/../{k}" for k in range(120)}
    assert set(read_table(run / "splits.csv")["id"]) == every
    with open(run / "splits.csv", newline="", encoding="utf-8") as file:  # as a spreadsheet has it
        assert not any(row["id"].startswith("=") for row in csv.DictReader(file))
    page = (run / "report.html").read_text(encoding="utf-8")
    for name in CLASSES:
        assert html.escape(name, quote=False) in page or html.escape(name) in page
    assert "<b>&amp<" not in page and "<script>0" not in page
    assert verify(run).problems == []


def test_tensorboards_table_has_one_line_a_point(home):
    run = home / "runs" / "a"
    metadata = sorted((run / "tb" / "rounds" / "projector").glob("round-*/*.tsv"))
    assert metadata
    for path in metadata:
        lines = path.read_text(encoding="utf-8").splitlines()
        points = (path.parents[1] / path.name).read_text().splitlines()
        assert len(lines) == len(points) + 1 and {line.count("\t") for line in lines} == {3}


def test_what_is_asked_of_the_run_afterwards_works_too(home, tmp_path):
    run = home / "runs" / "a"
    assert semi.evaluate(run).classes == sorted(CLASSES)
    export(run, tmp_path / "p.csv")
    assert {f"p_{c}" for c in CLASSES} <= set(pd.read_csv(tmp_path / "p.csv").columns)
    compare([str(run)], latency=False, output=str(tmp_path / "table.csv"))
    shutil.copytree(run / "model", tmp_path / "model")
    table = semi.load(tmp_path / "model").predict(texts=["$\\frac$ xxx", "<b>"])
    assert set(table["label"]) <= set(CLASSES)


@pytest.mark.parametrize("name", [*CLASSES, "$x$", "$", "\\", "a\tb", "{", "^_$$", "x" * 300])
def test_every_picture_takes_a_label_as_it_is(name):
    for figure in (
        figures.confusion([[1, 2], [3, 4]], [name, "other"]),
        figures.class_mix([name, "other"], {name: [1, 2], "gold": [2, 1]}),
    ):
        assert figures.pixels(figure).shape[2] == 3
        assert figures.svg(figure).startswith("<svg")
