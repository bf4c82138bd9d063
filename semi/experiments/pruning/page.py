"""The pruning report as files: table.csv, table.md, plot.png and one page with all of it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...checksums import derived
from ...evaluation import figures
from ...files import replacing, write_table, write_text
from .advice import COSINE, Advice, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_COLUMNS = {
    "setting": lambda r: r.setting,
    "s of sound / s": lambda r: f"{r.audio_per_second:.1f}",
    "speed": lambda r: f"{r.speedup:.2f} x",
    "FLOPs": lambda r: f"{r.flops:.2f}",
    "cosine": lambda r: _number(r.cosine, ".4f"),
    "5th %": lambda r: _number(r.cosine_p05, ".4f"),
    "kNN@10": lambda r: f"{r.overlap:.3f}",
    "CKA": lambda r: f"{r.cka:.3f}",
    "agreement": lambda r: _number(100 * r.agreement, ".1f", " %"),
    "macro-F1": lambda r: _number(r.macro_f1, ".1f"),
    "change [95 %]": lambda r: (
        "" if np.isnan(r.change)
        else f"{r.change:+.1f} [{r.change_low:+.1f}, {r.change_high:+.1f}]"
    ),
    "over": lambda r: r.change_over,
}  # fmt: skip
EXPLAINED = (
    "Speed is measured, every batch running through all settings in turn. FLOPs: share of the "
    "un-pruned encoder's operations. Cosine: of centred vectors to the un-pruned ones; an earlier "
    "layer is another space, so it has none. kNN@10: share of the ten nearest neighbours that "
    "stay. Agreement and macro-F1: logistic regression on vectors of that very setting, out of "
    "fold, whole groups apart; change: against un-pruned, 95 % interval over the groups named "
    "beside it. In the plot a point is named by keep rate and pruning layer, a stop by its layer."
)


def write_pages(folder: Path, title: str, about: str, advice: Advice, rows: list[Row]) -> None:
    """Writes all files of the report."""
    import pandas as pd

    with derived(folder / "table.csv"):
        write_table(folder / "table.csv", pd.DataFrame([asdict(row) for row in rows]))
    with derived(folder / "table.md"):
        write_text(folder / "table.md", markdown(title, about, advice, rows))
    figure = plot([row for row in rows if row.bucket == "all"])
    with derived(folder / "plot.png"), replacing(folder / "plot.png") as path:
        path.write_bytes(figures.png(figure))
    with derived(folder / "report.html"):
        write_text(folder / "report.html", page(title, about, advice, rows, figures.svg(figure)))


def buckets(rows: list[Row]) -> dict[str, list[Row]]:
    """Returns the rows of each length bucket, `all` first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.bucket, []).append(row)
    return found


def markdown(title: str, about: str, advice: Advice, rows: list[Row]) -> str:
    """Returns the report as Markdown."""
    lines = [f"# {title}", "", about, "", *(f"- {s}" for s in advice.sentences)]
    for name, part in buckets(rows).items():
        what = "All sounds" if name == "all" else f"Sounds of {name}"
        lines += ["", f"## {what} ({part[0].utterances})", ""]
        lines += [_line(PAGE_COLUMNS), _line("---" for _ in PAGE_COLUMNS)]
        lines += [_line(cell(row) for cell in PAGE_COLUMNS.values()) for row in part]
    return "\n".join([*lines, "", EXPLAINED, ""])


def page(title: str, about: str, advice: Advice, rows: list[Row], picture: str) -> str:
    """Returns the report as one HTML file that needs no other."""
    items = "".join(f"<li>{html.escape(s)}</li>" for s in advice.sentences)
    body = [f"<h1>{html.escape(title)}</h1><p>{html.escape(about)}</p><ul>{items}</ul>{picture}"]
    for name, part in buckets(rows).items():
        what = "All sounds" if name == "all" else f"Sounds of {name}"
        head = "".join(f"<th>{html.escape(c)}</th>" for c in PAGE_COLUMNS)
        lines = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(c(row))}</td>" for c in PAGE_COLUMNS.values())
            + "</tr>"
            for row in part
        )
        body.append(
            f"<h2>{html.escape(what)} ({part[0].utterances})</h2>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        )
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
        f"color:{figures.INK}}}table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}"
        f"th,td{{padding:.25rem .6rem;text-align:right;border-bottom:1px solid {figures.GRID}}}"
        "th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style>{''.join(body)}<p>{html.escape(EXPLAINED)}</p></html>\n"
    )


def plot(rows: Sequence[Row]) -> Figure:
    """Draws fidelity, and macro-F1 where it is known, over measured speed.

    Points are named by keep rate and layer of the pruning, stops by their layer.
    """
    from matplotlib.figure import Figure

    scored = not np.isnan(rows[0].macro_f1)
    figure = Figure(figsize=(9.6 if scored else 5.0, 4.0), layout="constrained")
    panels = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    methods = sorted({row.method for row in rows if row.kind == "prune"})
    marks = dict(zip(methods, "os^Dv", strict=False))
    colors = (figures.BLUE, figures.ORANGE, "#3f9b6c", "#8d5fb0", "#c25b72")
    tints = dict(zip(methods, colors, strict=False))
    place: dict[str, Any] = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 7}
    for panel, name, label in zip(
        panels, ("cosine", "macro_f1"), ("centred cosine, mean", "macro-F1 in %"), strict=False
    ):
        for method in methods:
            here = [row for row in rows if row.kind == "prune" and row.method == method]
            x, y = [row.speedup for row in here], [getattr(row, name) for row in here]
            panel.scatter(x, y, marker=marks[method], color=tints[method], label=method, s=26)
            for row, left, low in zip(here, x, y, strict=True):
                panel.annotate(f"{row.keep_rate:g} at {row.layer}", (left, low), **place)
        if name == "macro_f1":
            stops = [row for row in rows if row.kind != "prune"]
            stops = sorted(stops, key=lambda row: row.layer)
            x, y = [row.speedup for row in stops], [row.macro_f1 for row in stops]
            panel.plot(x, y, color=figures.GREY, marker=".", label="stop after layer ...")
            for row in stops:
                panel.annotate(str(row.layer), (row.speedup, row.macro_f1), **place)
        else:
            panel.axhline(COSINE, color=figures.GREY, linestyle="--", linewidth=1)
        panel.set_xlabel("measured speed, un-pruned = 1", fontsize=9, color=figures.INK)
        panel.set_ylabel(label, fontsize=9, color=figures.INK)
        panel.grid(color=figures.GRID, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.legend(frameon=False, fontsize=8)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure


def _number(value: float, form: str, unit: str = "") -> str:
    return "" if np.isnan(value) else f"{value:{form}}{unit}"


def _line(cells) -> str:
    return "| " + " | ".join(cells) + " |"
