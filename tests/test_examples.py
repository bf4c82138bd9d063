"""The notebooks of examples/ run from top to bottom, as somebody would run them."""

import ast
import json
from pathlib import Path

import pandas as pd

EXAMPLES = Path(__file__).parents[1] / "examples"


def cells(name):
    """Returns the sources of a notebook's code cells."""
    book = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in book["cells"])
    return ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]


def run(sources):
    """Runs cells in one namespace; returns it and what each cell shows."""
    space, shown = {}, []
    for source in sources:
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), space)
        value = (
            None
            if last is None
            else eval(compile(ast.Expression(last.value), "cell", "eval"), space)
        )
        shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else value)
    return space, shown


def test_thirty_reviews_are_learned_from_and_both_runs_are_compared(tmp_path, store, monkeypatch):
    (tmp_path / "feature_store").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    space, shown = run(cells("review.ipynb"))
    gold = pd.read_csv(space["second"].path / "gold.csv", dtype=str)
    reviewed = gold[gold["source"] == "review"]
    assert len(reviewed) == 30 and set(reviewed["use"]) == {"gold"}
    assert (space["truth"][reviewed["id"]].to_numpy() == reviewed["label"].to_numpy()).all()
    sides = [pd.read_csv(space[n].path / "splits.csv") for n in ("first", "second")]
    test = [set(side[side["role"] == "test"]["id"]) for side in sides]
    assert test[0] == test[1]
    assert [int((side["role"] == "labeled").sum()) for side in sides] == [33, 63]
    assert "30 reviews in" in shown[3] and "<audio controls" in shown[1] and "<table" in shown[5]
