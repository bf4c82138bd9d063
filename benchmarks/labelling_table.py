"""Table and plot of benchmarks/labelling.py.

    python benchmarks/labelling_table.py CELLS.csv [--seeds 0 1 2] [--plot FILE.png]

For each corpus and rule: the mean score over the labels from the first to the last (area under the
curve, trapezoids), less that of random labels in the same cells (seed and outer fold), with a 95 %
t interval over cells; and how many labels the mean curve needs to reach the score that random
labels have at the end, with a percentile interval over resampled cells. `all` is the mean over
corpora.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

CELL = ["seed", "fold"]
RESAMPLES = 500


def areas(cells: Any) -> Any:
    """Returns the mean score over labels of each corpus, rule, seed and fold."""
    found = {}
    for key, rows in cells.groupby(["corpus", "rule", *CELL]):
        rows = rows.sort_values("labels")
        area = np.trapezoid(rows.macro_f1, rows.labels)
        found[key] = area / (rows.labels.max() - rows.labels.min())
    return pd.Series(found)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Returns mean, low and high of a 95 % t interval."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = float(np.std(values, ddof=1) / n**0.5 * stats.t.ppf(0.975, n - 1))
    return mean, mean - half, mean + half


def curves(cells: Any) -> Any:
    """Returns one column a cell: macro-F1 by labels."""
    return cells.pivot_table(index="labels", columns=CELL, values="macro_f1").interpolate()


def needed(curve: np.ndarray, labels: np.ndarray, goal: float) -> float:
    """Returns the labels at which a mean curve first reaches a score; inf where it never does."""
    above = np.flatnonzero(curve >= goal)
    if not len(above):
        return float("inf")
    i = int(above[0])
    if i == 0:
        return float(labels[0])
    part = (goal - curve[i - 1]) / (curve[i] - curve[i - 1])
    return float(labels[i - 1] + part * (labels[i] - labels[i - 1]))


def needed_interval(mine: Any, random: Any) -> tuple[float, float, float]:
    """Returns the labels that a rule needs for random's last score, low and high."""
    labels, draw, n = mine.index.to_numpy(), np.random.default_rng(0), mine.shape[1]
    a, b = mine.to_numpy(), random.to_numpy()
    whole = needed(a.mean(1), labels, b[-1].mean())
    again = []
    for _ in range(RESAMPLES):
        some = draw.integers(n, size=n)
        again.append(needed(a[:, some].mean(1), labels, b[-1, some].mean()))
    low, high = np.quantile(again, [0.025, 0.975], method="nearest")
    return whole, float(low), float(high)


def shown(labels: float) -> str:
    """Returns a number of labels, or that it was never reached."""
    return f"{labels:.0f}" if np.isfinite(labels) else "never"


def row_of(rule: str, cells: Any, area: Any, corpora: list[str]) -> list[str]:
    """Returns the cells of a rule's row of the table."""
    row, means, errors = [rule], [], []
    for corpus in corpora:
        both = cells[(cells.corpus == corpus) & cells.rule.isin([rule, "random"])]
        if (corpus, rule) not in area.index.droplevel([2, 3]):
            row.append("-")
            continue
        paired = (area[corpus, rule] - area[corpus, "random"]).dropna().to_numpy()
        mean, low, high = interval(paired)
        mine, random = (curves(both[both.rule == r]) for r in (rule, "random"))
        common = mine.columns.intersection(random.columns)
        count, least, most = needed_interval(mine[common], random[common])
        row.append(f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]; {shown(count)} "
                   f"[{shown(least)}, {shown(most)}]")  # fmt: skip
        means.append(mean)
        errors.append(np.std(paired, ddof=1) / len(paired) ** 0.5 if len(paired) > 1 else np.nan)
    if len(means) == len(corpora):
        half = 1.96 * float(np.sqrt(np.sum(np.square(errors)))) / len(means)
        mean = float(np.mean(means))
        row.append(f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]")
    else:
        row.append("-")
    return row


def table(cells: Any) -> str:
    """Returns the table in Markdown; the rule with the best mean first."""
    area = areas(cells)
    corpora = sorted(set(cells.corpus))
    start = [f"{area[c, 'random'].mean():.1f}" for c in corpora]
    ends = [f"{curves(cells[(cells.corpus == c) & (cells.rule == 'random')]).iloc[-1].mean():.1f}"
            for c in corpora]  # fmt: skip
    rules = [r for r in dict.fromkeys(cells.rule) if r != "random"]
    rows = [row_of(rule, cells, area, corpora) for rule in rules]
    rows.sort(key=lambda row: -float(row[-1].split()[0]) if row[-1] != "-" else 1e9)
    reference = [f"{a}; {e}" for a, e in zip(start, ends, strict=True)]
    lines = [
        ["rule", *corpora, "all"],
        ["---"] * (len(corpora) + 2),
        ["random: mean; last", *reference, ""],
        *rows,
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(cells: Any, rules: list[str], path: Path) -> None:
    """Writes the mean curves of some rules, one panel a corpus.

    A band is the 95 % t interval, over cells, of how far a rule is from random labels.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    corpora = sorted(set(cells.corpus))
    figure, panels = plt.subplots(1, len(corpora), figsize=(3 * len(corpora), 2.8), squeeze=False)
    for panel, corpus in zip(panels[0], corpora, strict=True):
        here = cells[cells.corpus == corpus]
        random = curves(here[here.rule == "random"])
        for rule in rules:
            some = here[here.rule == rule]
            if len(some):
                mine = curves(some)
                mean = mine.mean(axis=1)
                style = {"color": "black", "linestyle": "--"} if rule == "random" else {}
                line = panel.plot(mean.index, mean.to_numpy(), label=rule, linewidth=1.3, **style)
                apart = [interval(row.dropna().to_numpy()) for _, row in (mine - random).iterrows()]
                low, high = zip(*((a - m, b - m) for m, a, b in apart), strict=True)
                color = line[0].get_color()
                panel.fill_between(mean.index, mean + low, mean + high, alpha=0.2, color=color)
        panel.set_title(corpus, fontsize=9)
        panel.set_xlabel("labels", fontsize=8)
        panel.tick_params(labelsize=7)
    panels[0][0].set_ylabel("macro-F1 of new speakers, %", fontsize=8)
    panels[0][-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--rules", nargs="+", help="of the table and the plot; default: all")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    cells: Any = pd.read_csv(args.cells)
    if args.seeds:
        cells = cells[cells.seed.isin(args.seeds)]
    if args.rules:
        cells = cells[cells.rule.isin(["random", *args.rules])]
    print(table(cells))
    if args.plot:
        plot(cells, list(dict.fromkeys(cells.rule)), args.plot)


if __name__ == "__main__":
    main()
