"""The pictures of the report and of TensorBoard, from plain numbers; drawn without a display."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GRID, BLUE, ORANGE, GREY = "#1f2933", "#d9dee4", "#2f6fb5", "#d9822b", "#9aa5b1"
COUNTED = 20  # classes of a confusion matrix whose cells have numbers; of more, shades alone


def reliability(confidence: Sequence, accuracy: Sequence, count: Sequence, ece=None) -> Figure:
    """Draws how often the model is right (y) when it says it is this sure (x), bin by bin."""
    figure, axes = _axes((4.2, 3.6), "stated confidence", "share that is right")
    x, y, n = (_floats(v) for v in (confidence, accuracy, count))
    seen = (n > 0) & np.isfinite(x) & np.isfinite(y)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    axes.plot(x[seen], y[seen], color=BLUE, linewidth=1.5)
    largest = max(float(n.max(initial=0)), 1.0)
    axes.scatter(x[seen], y[seen], s=12 + 90 * n[seen] / largest, color=BLUE, zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    if ece is not None:
        axes.set_title(f"calibration error {100 * ece:.1f} %", fontsize=9, color=INK)
    return figure


def calibration(series: Mapping[str, Sequence[tuple[float, float, int]]]) -> Figure:
    """Draws share that is right (y) over stated confidence (x) with its 95 % interval (Wilson).

    Args:
        series: name -> bins of (stated confidence, share that is right, rows).
    """
    figure, axes = _axes((4.2, 3.6), "stated confidence", "share that is right")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for (name, bins), color in zip(series.items(), _cycle(), strict=False):
        x, y, n = (_floats(column) for column in zip(*bins, strict=True))
        low, high = _wilson(y, n)
        whiskers = np.maximum([y - low, high - y], 0)
        axes.errorbar(x, y, whiskers, color=color, marker="o", markersize=4, linewidth=1.5,
                      elinewidth=1, capsize=2, label=name)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _wilson(share: np.ndarray, rows: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the 95 % score interval of shares (B,) of rows (B,) (Wilson 1927)."""
    wide = 1 + z**2 / rows
    middle = (share + z**2 / (2 * rows)) / wide
    half = z / wide * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return middle - half, middle + half


def curve(coverage: Sequence, value: Sequence, *, label: str, base: float | None = None) -> Figure:
    """Draws a quantity (y) over the share of rows kept, the most confident first (x)."""
    figure, axes = _axes((4.2, 3.6), "share of rows kept, most confident first", label)
    axes.plot(_floats(coverage), _floats(value), color=BLUE, linewidth=1.8)
    if base is not None:
        axes.axhline(base, color=GREY, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figure


def histogram(rows: Sequence, chosen: Sequence | None = None) -> Figure:
    """Draws how many rows have which confidence, and how many of them were chosen.

    Args:
        rows: counts (B,) in B bins of one width between 0 and 1.
        chosen: of the chosen rows among them (B,).
    """
    figure, axes = _axes((4.2, 3.2), "confidence", "rows")
    edges = np.linspace(0, 1, len(rows) + 1)
    for counts, color, name in ((rows, GRID, "all"), (chosen, BLUE, "chosen")):
        if counts is not None:
            axes.bar(edges[:-1], _floats(counts), 1 / len(rows), align="edge", color=color,
                     edgecolor="white", label=name)  # fmt: skip
    if chosen is not None:
        axes.legend(frameon=False, fontsize=8)
    axes.set_xlim(0, 1)
    return figure


def confusion(matrix: Sequence, classes: Sequence[str]) -> Figure:
    """Draws counts of true class (rows) against predicted class (columns), shaded by row share.

    A cell without a row stays empty; the cells of more than COUNTED classes have no numbers.
    """
    from matplotlib.figure import Figure

    counts = np.asarray(matrix, dtype=float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 1.6 + (0.55 if len(classes) <= COUNTED else 0.18) * len(classes)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    filled = np.argwhere(counts) if len(classes) <= COUNTED else []
    for i, j in filled:
        color = "white" if share[i, j] > 0.55 else INK
        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=color, size=8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("given (gold)", color=INK)
    return figure


def class_mix(classes: Sequence[str], shares: Mapping[str, Sequence]) -> Figure:
    """Draws the share of each class in several sets of rows side by side, e.g. added and gold."""
    figure, axes = _axes((max(4.2, 0.9 * len(classes)), 3.2), "", "share of rows")
    width, colors = 0.8 / max(len(shares), 1), (BLUE, ORANGE, GREY, GRID)
    for k, (name, counts) in enumerate(shares.items()):
        values = _floats(counts)
        values = values / max(values.sum(), 1e-12)
        place = np.arange(len(classes)) + (k - (len(shares) - 1) / 2) * width
        axes.bar(place, values, width, label=name, color=colors[k % len(colors)])
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    return figure


def rounds(numbers: Sequence[int], metrics: Mapping[str, tuple[Sequence, Sequence, Sequence]]):
    """Draws metrics over the rounds: name -> (values, low, high); an interval may be missing."""
    figure, axes = _axes((4.2, 3.6), "round", "score in %")
    for (name, (values, low, high)), color in zip(metrics.items(), _cycle(), strict=False):
        x = _floats(numbers)
        y, lo, hi = (100 * _floats(v) for v in (values, low, high))
        axes.plot(x, y, marker="o", markersize=4, color=color, label=name, linewidth=1.5)
        if np.isfinite(lo).any():
            axes.fill_between(x, lo, hi, color=color, alpha=0.13, linewidth=0)
    axes.set_xticks(list(numbers))
    axes.legend(frameon=False, fontsize=8)
    return figure


def png(figure: Figure, dpi: int = 110) -> bytes:
    """Returns the figure as a PNG file."""
    return _render(figure, format="png", dpi=dpi)


def svg(figure: Figure) -> str:
    """Returns the figure as an <svg> element; letters stay letters, so any script shows."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "semi"}):
        text = _render(figure, format="svg", metadata={"Date": None, "Creator": None}).decode()
    return text[text.index("<svg") :]


def pixels(figure: Figure, dpi: int = 110) -> np.ndarray:
    """Returns the figure as (height, width, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(literal(figure))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter the fonts lack becomes a box
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _render(figure: Figure, **how) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter the fonts lack becomes a box
        literal(figure).savefig(target, **how)
    return target.getvalue()


def literal(figure: Figure) -> Figure:
    """Returns the figure with its texts taken as they are: a label such as "$x$" is no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def _axes(size: tuple[float, float], x: str, y: str):
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _cycle():
    while True:
        yield from (BLUE, ORANGE, "#3f9b6c", "#8d5fb0")


def _floats(values: Sequence) -> np.ndarray:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=float)
