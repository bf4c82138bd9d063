"""The report's curves: scores and per-class F1 over the rounds, calibration, risk and precision.

Colours are the page's own variables, so that a curve is dark where the page is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from ..data.wording import counted
from . import figures
from .report_scores import key_of
from .text import SCORE_TITLES

BIN_ROWS = 15  # of gold that a bin of the calibration must have at the least
MOST_BINS = 6
BINS_ABOUT = f"Bins of one size, of {BIN_ROWS} rows or more where there are as many; whiskers 95 %."
COLORS = {
    figures.INK: "var(--ink)", figures.GRID: "var(--line)", figures.BLUE: "var(--blue)",
    figures.ORANGE: "var(--orange)", figures.GREY: "var(--soft)", "#3f9b6c": "var(--good)",
    "#8d5fb0": "var(--violet)", "#ffffff": "none", "#000000": "var(--soft)",
}  # fmt: skip
SPARK = (100.0, 34.0)  # width and height of a class's curve


def rounds_figure(records: Sequence[dict]) -> str:
    """Returns the scores over the rounds with their intervals as SVG, '' of a single round."""
    key = key_of(records)
    done = [r for r in records if r.get(key)]
    if len(done) < 2:
        return ""

    def ends(name: str, end: str) -> list:
        return [((r[key].get("intervals") or {}).get(name) or {}).get(end) for r in done]

    names = [*list(SCORE_TITLES.items())[1:], ("ccc", "CCC"), ("sample_f1", "F1 per row")]
    shown = {
        title: ([r[key].get(name) for r in done], ends(name, "low"), ends(name, "high"))
        for name, title in names
        if any(r[key].get(name) is not None for r in done)
    }
    return _svg(figures.rounds([r.get("round", 0) for r in done], shown)) if shown else ""


def class_curves(records: Sequence[dict]) -> list[dict[str, Any]]:
    """Returns each class's F1 over the rounds: a line in a box of SPARK, first and last value."""
    key = key_of(records)
    done = [r for r in records if (r.get(key) or {}).get("f1")]
    classes = done[-1][key]["classes"] if len(done) > 1 else []
    curves = []
    for k, name in enumerate(classes):
        found = [(r.get("round", 0), r[key]["f1"][k]) for r in done if r[key]["classes"] == classes]
        known = [(number, value) for number, value in found if value is not None]
        if len(known) < 2:
            continue
        first, last = known[0][0], known[-1][0]
        points = [
            (SPARK[0] * (n - first) / max(last - first, 1), SPARK[1] * (1 - v)) for n, v in known
        ]
        curves.append(
            {"name": name, "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
             "end": points[-1], "first": f"{100 * known[0][1]:.0f}",
             "last": f"{100 * known[-1][1]:.0f}", "from": first, "to": last,
             "rows": done[-1][key]["support"][k]}
        )  # fmt: skip
    return curves


def shipped_curves(record: dict, answers: Sequence[dict]) -> list[dict[str, str]]:
    """Returns the curves of the round that ships, each with its title and a sentence about it.

    Args:
        record: of that round.
        answers: rows of answers.csv; without them the record's own bins are put together.
    """
    curves = []
    if series := _calibrations(record, answers):
        sizes = {name: sum(rows for *_, rows in bins) for name, bins in series.items()}
        counts = ", ".join(f"{name}: {counted(n, 'row')}" for name, n in sizes.items())
        about = f"{counts}. {BINS_ABOUT}"
        curves.append(("Calibration", about, figures.calibration(series)))
    for key, title, what in (
        ("risk_coverage", "Risk and coverage", "error rate"),
        ("curve", "Right pseudo-labels by coverage", "share that is right"),
    ):
        of_run = record if record.get("reliability") else {}  # a row has one answer
        source = of_run if key == "risk_coverage" else record.get("pseudo") or {}
        points = source.get(key) or []
        if points:
            y = "risk" if key == "risk_coverage" else "precision"
            lines = [p.get("coverage") for p in points], [p.get(y) for p in points]
            about = "On gold out-of-fold." if y == "risk" else "Against gold hidden from the run."
            curves.append((title, about, figures.curve(*lines, label=what)))
    return [
        {"title": title, "about": about, "svg": _svg(figure)} for title, about, figure in curves
    ]


def _calibrations(record: dict, answers: Sequence[dict]) -> dict[str, list[tuple]]:
    """Returns name -> bins (stated confidence, share that is right, rows)."""
    if not record.get("reliability"):  # several labels, or none: no one confidence
        return {}
    series = {}
    for name, roles in (("out-of-fold", ("labeled",)), ("held out", ("test", "dev"))):
        rows = [(r["confidence"], r["label"] == r["said"]) for r in answers if r["role"] in roles]
        if rows:
            series[name] = equal_bins(sorted(rows))
    return series or {"out-of-fold": merged_bins(record["reliability"])}


def equal_bins(rows: Sequence[tuple[float, bool]]) -> list[tuple[float, float, int]]:
    """Returns as many bins of equal size as the rows allow, from the least sure to the surest."""
    count = min(MOST_BINS, max(1, len(rows) // BIN_ROWS))
    edges = [round(k * len(rows) / count) for k in range(count + 1)]
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)]
    return [
        (sum(c for c, _ in part) / len(part), sum(r for _, r in part) / len(part), len(part))
        for part in parts
    ]


def merged_bins(bins: Sequence[dict]) -> list[tuple[float, float, int]]:
    """Returns the bins of a record put together until each has BIN_ROWS rows."""
    done: list[tuple[float, float, int]] = []
    for one in bins:
        confidence, accuracy, rows = one["confidence"], one["accuracy"], one["rows"]
        if None in (confidence, accuracy) or not rows:
            continue
        if done and done[-1][2] < BIN_ROWS:
            c, a, n = done.pop()
            both = n + rows
            confidence = (c * n + confidence * rows) / both
            accuracy, rows = (a * n + accuracy * rows) / both, both
        done.append((confidence, accuracy, rows))
    if len(done) > 1 and done[-1][2] < BIN_ROWS:
        (c, a, n), (d, b, m) = done[-2:]
        done[-2:] = [((c * n + d * m) / (n + m), (a * n + b * m) / (n + m), n + m)]
    return done


def _svg(figure: Any) -> str:
    """Returns a figure in the page's colours; names of its groups are dropped, as each has them."""
    text = re.sub(r'<g id="[^"]*">', "<g>", figures.svg(figure))
    for color, variable in COLORS.items():
        text = text.replace(color, variable)
    return text.replace("<svg ", '<svg aria-hidden="true" ', 1)
