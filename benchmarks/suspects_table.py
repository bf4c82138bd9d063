"""Tables of benchmarks/suspects.py.

    python benchmarks/suspects_table.py CELLS.csv

First how well each rule finds wrong labels: precision among as many suspects as there are errors,
and the area under the ROC curve, in %, means with 95 % t intervals over pairs of corpus and seed.
Then macro-F1 on new speakers with the wrong labels, after the suspects of the default rule were put
right, after as many random rows were, and with all labels right; and what putting the suspects
right gained, with a paired interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from labelling_table import interval


def shown(part: Any, values: Any) -> str:
    """Returns a mean with its interval over corpora and seeds; what they share is one value."""
    means = values.groupby([part.corpus, part.seed]).mean()
    mean, low, high = interval(means.to_numpy())
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def both(part: Any, rule: str) -> str:
    """Returns precision and area of a rule."""
    return "; ".join(shown(part, part[f"{what}_{rule}"]) for what in ("precision", "auc"))


def lines(rows: list[list[str]]) -> str:
    """Returns a table in Markdown."""
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def found(cells: Any) -> str:
    """Returns the table of rules."""
    rules = [c.removeprefix("auc_") for c in cells.columns if c.startswith("auc_")]
    rows = [["errors", "%", *(f"{rule}: precision; AUC" for rule in rules)]]
    for (kind, rate), part in cells.groupby(["kind", "rate"], sort=False):
        row = [kind, f"{100 * rate:.0f}"]
        row += [both(part, r) for r in rules]
        rows.append(row)
    mean = [both(cells, r) for r in rules]
    return lines([*rows, ["all", "", *mean]])


def brought(cells: Any) -> str:
    """Returns the table of scores."""
    rows = [["corpus", "errors %", "wrong labels", "suspects put right", "random rows put right",
             "all right", "gained by suspects", "gained over random rows"]]  # fmt: skip
    for (corpus, rate), part in cells.groupby(["corpus", "rate"], sort=False):
        rows.append([corpus, f"{100 * rate:.0f}", *_scores(part)])
    rows.append(["all", "", *_scores(cells)])
    return lines(rows)


def _scores(part: Any) -> list[str]:
    means = [f"{part[name].mean():.1f}" for name in ("noisy", "corrected", "random", "clean")]
    gains = [shown(part, part.corrected - part[name]) for name in ("noisy", "random")]
    return means + gains


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cells", type=Path)
    cells = pd.read_csv(parser.parse_args().cells)
    print(found(cells), "", brought(cells), sep="\n")


if __name__ == "__main__":
    main()
