"""The two plots of a benchmark: gain over supervised, and share of the oracle gap closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...evaluation.figures import literal
from ...files import replacing
from .significance import NOT_RULES, Draw, Line

CONTROLS_SHOWN = ("placebo",)  # controls that belong beside the rules


def plot_gains(path: Path, lines: list[Line], metric: str) -> None:
    """Draws, for each corpus, every arm's gain with its interval against the label budget."""
    shown = [x for x in lines if x.arm not in NOT_RULES or x.arm in CONTROLS_SHOWN]
    _plot(path, shown, lambda x: x.gain, f"gain over supervised, {metric} points", "", -15)


def plot_shares(path: Path, lines: list[Line]) -> None:
    """Draws, for each corpus, the share of the oracle gap that every arm closes."""
    shown = [x for x in lines if (x.arm not in NOT_RULES or x.arm in CONTROLS_SHOWN) and x.share]
    _plot(path, shown, lambda x: x.share, "share of the oracle gap closed", " %", -60)


def _plot(
    path: Path,
    lines: list[Line],
    read: Callable[[Line], Draw | None],
    title: str,
    unit: str,
    floor: float,
) -> None:
    """Draws arms against budgets; what lies below `floor` is counted in the title, not drawn.

    One arm that fails badly would else press all others into one line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(x.dataset for x in lines)) or ["nothing yet"]
    arms = list(dict.fromkeys(x.arm for x in lines))
    budgets = sorted(
        dict.fromkeys(x.budget for x in lines),
        key=lambda b: (b.endswith("%"), float(b.rstrip("%"))),
    )
    columns = min(len(datasets), 3)
    rows = -(-len(datasets) // columns)
    figure = Figure(figsize=(5.2 * columns + 2.4, 3.4 * rows), layout="constrained")
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number >= len(datasets):
            axis.set_visible(False)
            continue
        of_corpus = [x for x in lines if x.dataset == datasets[number]]
        _panel(axis, of_corpus, read, arms, budgets)
        drawn = [d for x in of_corpus if (d := read(x)) is not None]
        below = sum(100 * d.value < floor for d in drawn)
        if below:
            axis.set_ylim(bottom=floor)
        note = f" ({below} points below {floor:g} not drawn)" if below else ""
        axis.set_title(datasets[number] + note, fontsize=10)
        axis.set_xticks(range(len(budgets)), budgets)
        axis.set_xlabel("labelled rows")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:+.0f}{unit}")
    axes[0, 0].set_ylabel(title)
    named: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    if named:
        figure.legend(named.values(), named.keys(), loc="outside right center", fontsize=8)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        literal(figure).savefig(temporary, dpi=130, format="png")


def _panel(
    axis: Any,
    lines: list[Line],
    read: Callable[[Line], Draw | None],
    arms: list[str],
    budgets: list[str],
) -> None:
    """Draws the lines of one corpus: every arm's points with their intervals, side by side."""
    axis.axhline(0, color="black", linewidth=0.8)
    for a, arm in enumerate(arms):
        of_arm = [x for x in lines if x.arm == arm]
        if not of_arm:
            continue
        draws = [d for d in map(read, of_arm) if d is not None]
        ends = [d.interval() for d in draws]
        shift = (a - (len(arms) - 1) / 2) * 0.8 / max(len(arms), 1)
        axis.errorbar(
            [budgets.index(x.budget) + shift for x in of_arm],
            [100 * d.value for d in draws],
            yerr=[
                [max(0.0, 100 * (d.value - e[0])) for d, e in zip(draws, ends, strict=True)],
                [max(0.0, 100 * (e[1] - d.value)) for d, e in zip(draws, ends, strict=True)],
            ],
            fmt=("o", "s", "^", "D", "v")[a // 10 % 5],
            color="grey" if arm in CONTROLS_SHOWN else f"C{a % 10}",
            markersize=4,
            elinewidth=0.9,
            label=arm,
        )
