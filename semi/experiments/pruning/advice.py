"""From measurements to advice: prune so, stop earlier, or do not. N utterances, S settings."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from models.encoders.numerics import centred_cosine

from ...data.wording import counted
from ...evaluation.intervals import metrics_from_confusion, paired_interval
from ...evaluation.metrics import confusion
from .fidelity import linear_cka, neighbour_overlap, neighbours, out_of_fold
from .measure import Measured
from .settings import Setting

COSINE, COSINE_LOW, OVERLAP, CKA, AGREEMENT, SPEED = 0.98, 0.95, 0.8, 0.98, 0.97, 1.05
MIN_UTTERANCES = 500  # utterances that the limits above are meant for
LEAST_UTTERANCES = 30  # with fewer nothing is advised
WIDE = 5.0  # points of macro-F1: an interval that reaches further down excludes little


@dataclass
class Row:
    """One setting on the utterances of one length bucket."""

    setting: str
    kind: str
    method: str
    keep_rate: float
    layer: int  # of the pruning, or the last that runs
    bucket: str  # all, or a range of seconds
    utterances: int
    audio_per_second: float  # seconds of sound per second, measured
    speedup: float  # against un-pruned on the same utterances
    flops: float  # share of un-pruned
    cosine: float = nan  # centred, mean
    cosine_p05: float = nan
    overlap: float = nan  # of the 10 nearest neighbours
    cka: float = nan
    agreement: float = nan  # share of equal predictions
    macro_f1: float = nan  # percent, out of fold, speakers apart
    change: float = nan  # points against un-pruned
    change_low: float = nan  # its 95 % interval over whole groups
    change_high: float = nan
    change_over: str = ""  # what the interval is over, such as '10 groups'

    def change_words(self) -> str:
        """Returns '-0.4 points [-2.1, +1.3] over 10 groups'."""
        low, high = self.change_low, self.change_high
        return f"{self.change:+.1f} points [{low:+.1f}, {high:+.1f}] over {self.change_over}"


@dataclass
class GoldLabels:
    """Labels of the sampled utterances."""

    label: np.ndarray  # (N,) read only where fold >= 0
    fold: np.ndarray  # (N,) out-of-fold part, -1 without usable gold
    group: np.ndarray  # (N,)


def length_buckets(seconds: np.ndarray) -> dict[str, np.ndarray]:
    """Returns name -> (N,) bool: all, and thirds by length where there are 30 rows or more."""
    buckets = {"all": np.ones(len(seconds), bool)}
    if len(seconds) < 30 or seconds.min() == seconds.max():
        return buckets
    low, high = np.quantile(seconds, [1 / 3, 2 / 3])
    buckets[f"up to {low:.1f} s"] = seconds <= low
    buckets[f"{low:.1f} to {high:.1f} s"] = (seconds > low) & (seconds <= high)
    buckets[f"over {high:.1f} s"] = seconds > high
    return {name: inside for name, inside in buckets.items() if inside.sum() >= 5}


def tabulate(settings: list[Setting], measured: Measured, gold: GoldLabels | None) -> list[Row]:
    """Returns a row for every setting and length bucket; un-pruned comes first."""
    full = measured.vectors[0]
    near = neighbours(full)
    before = None if gold is None else out_of_fold(full, gold.label, gold.fold)
    rows = []
    for number, (setting, x) in enumerate(zip(settings, measured.vectors, strict=True)):
        after = before
        if gold is not None and number:
            after = out_of_fold(x, gold.label, gold.fold)
        comparable = setting.kind != "stop"  # another layer is another space
        cosine = centred_cosine(full, x) if comparable else np.full(len(x), nan)
        overlap = neighbour_overlap(near, neighbours(x))
        for name, inside in length_buckets(measured.seconds).items():
            sound = float(measured.seconds[inside].sum())
            took, base = (float(measured.took[k][inside].sum()) for k in (number, 0))
            row = Row(
                setting.name, setting.kind, setting.config.pruning.method,
                setting.config.pruning.keep_rate,
                setting.last if setting.kind != "prune" else int(setting.config.pruning.layer or 0),
                name, int(inside.sum()), sound / took, base / took,
                float(measured.flops[number][inside].sum() / measured.flops[0][inside].sum()),
                overlap=float(overlap[inside].mean()), cka=linear_cka(full[inside], x[inside]),
            )  # fmt: skip
            if comparable:
                row.cosine = float(cosine[inside].mean())
                row.cosine_p05 = float(np.percentile(cosine[inside], 5))
            if gold is not None and before is not None and after is not None:
                row.agreement = float((before == after)[inside].mean())
                _score(row, before, after, inside & (gold.fold >= 0), gold)
            rows.append(row)
    return rows


def _score(row: Row, before, after, rows: np.ndarray, gold: GoldLabels) -> None:
    """Fills in macro-F1 over the classes that occur, and how much it changed."""
    if not rows.any():
        return
    classes, codes = np.unique(gold.label[rows], return_inverse=True)
    place = {int(c): i for i, c in enumerate(classes)}
    # a class that this bucket lacks is one more column, which no truth ever has
    pruned, full = (
        np.array([place.get(int(c), len(place)) for c in predicted[rows]])
        for predicted in (after, before)
    )
    change = paired_interval(pruned, full, codes, gold.group[rows], "macro_f1")
    columns = max(int(codes.max()), int(pruned.max()), int(full.max())) + 1
    points = 100 * columns / len(classes)  # the mean is over the classes that occur
    ends = (change.low, change.high) if row.kind != "full" else (0.0, 0.0)  # un-pruned to itself
    row.change, row.change_low, row.change_high = (points * v for v in (change.value, *ends))
    row.change_over = change.over()
    table = confusion(codes, pruned, columns)
    row.macro_f1 = points * float(metrics_from_confusion(table)["macro_f1"])


def failures(rows: list[Row]) -> list[str]:
    """Returns what keeps one pruning setting (its rows, all buckets) from being adopted."""
    sentences = []
    for row in rows:
        where = "" if row.bucket == "all" else f" on sounds of {row.bucket}"
        checks = [
            (row.cosine >= COSINE, f"centred cosine {row.cosine:.3f} is below {COSINE}"),
            (
                row.cosine_p05 >= COSINE_LOW,
                f"5th percentile of the cosine {row.cosine_p05:.3f} is below {COSINE_LOW}",
            ),
        ]
        if row.bucket == "all":
            checks += [
                (
                    row.overlap >= OVERLAP,
                    f"only {100 * row.overlap:.0f} % of the nearest neighbours stay "
                    f"({100 * OVERLAP:.0f} % needed)",
                ),
                (row.cka >= CKA, f"linear CKA {row.cka:.3f} is below {CKA}"),
                (
                    not row.agreement < AGREEMENT,
                    f"only {100 * row.agreement:.1f} % of the predictions stay "
                    f"({100 * AGREEMENT:.0f} % needed)",
                ),
                (
                    not row.change_high < 0,
                    f"macro-F1 changes by {row.change_words()}, which excludes 0",
                ),
                (
                    row.speedup >= SPEED,
                    f"measured speed is {row.speedup:.2f} x un-pruned "
                    f"({SPEED:g} x needed to be worth it)",
                ),
            ]
        sentences += [sentence + where for good, sentence in checks if not good]
    return sentences


@dataclass
class Advice:
    """What to do, and why."""

    kind: str  # prune | stop | nothing
    setting: Setting | None
    sentences: list[str]

    def __str__(self) -> str:
        """Returns the sentences, one a line."""
        return "\n".join(self.sentences)


def advise(settings: list[Setting], rows: list[Row], measured: Measured) -> Advice:
    """Returns the fastest setting that passes every check, or advice against pruning."""
    by_setting = {s.name: [r for r in rows if r.setting == s.name] for s in settings}
    whole = {name: buckets[0] for name, buckets in by_setting.items()}
    pruned = [s for s in settings if s.kind == "prune"]
    failed = {s.name: failures(by_setting[s.name]) for s in pruned}
    passing = [s for s in pruned if not failed[s.name]]
    stops = [s for s in settings if s.kind == "stop" and _as_good(whole[s.name])]
    stop = max(stops, key=lambda s: whole[s.name].speedup, default=None)
    best = max(passing, key=lambda s: whole[s.name].speedup, default=None)
    full = whole[settings[0].name]
    notes = _caveats(full, measured)
    if full.utterances < LEAST_UTTERANCES:
        sentence = (
            f"No advice: {counted(full.utterances, 'utterance', 'is', 'are')} too few, "
            f"{LEAST_UTTERANCES} are the least and {MIN_UTTERANCES} enough. The table says what "
            "was measured; do not prune on its strength."
        )
        return Advice("nothing", None, [sentence, *notes[1:]])
    if best is not None:
        return _advise_best(best, stop, settings, whole, notes)
    sentences = ["No pruning was measured."]
    if pruned:
        nearest = min(pruned, key=lambda s: (len(failed[s.name]), -whole[s.name].speedup))
        sentences = [
            f"Do not prune: none of {counted(len(pruned), 'setting')} passes every check.",
            f"Nearest is {nearest.name}, but {'; '.join(failed[nearest.name][:4])}.",
        ]
    if stop is not None:
        sentences.insert(0, f"Stop earlier: {stop.override}")
        sentences.insert(1, _praise_stop(whole[stop.name]))
        sentences.append(f"With {stop.override} this report would tell what pruning brings on top.")
        return Advice("stop", stop, [*sentences, *notes])
    return Advice("nothing", None, [*sentences, *notes])


def _advise_best(
    best: Setting, stop: Setting | None, settings: list[Setting], whole: dict[str, Row],
    notes: list[str],
) -> Advice:  # fmt: skip
    """Returns advice for the best pruning, or for stopping early where that is better still."""
    row = whole[best.name]
    sentences = [f"Prune: {best.override}", _praise(row)]
    if row.change_low < -WIDE:
        sentences.append(
            f"That interval is wide: a loss of {-row.change_low:.0f} points is not excluded; "
            "more labelled utterances or speakers would narrow it."
        )
    rival = _same_cost(whole, settings, row)
    if rival is not None and not np.isnan(rival.change):
        sentences.append(
            f"Stopping early at about the same cost ({rival.setting}, {rival.flops:.2f} of the "
            f"operations) changes macro-F1 by {rival.change_words()}."
        )
    if stop is not None and _beats(whole[stop.name], row):
        sentences[0] = f"Stop earlier instead of pruning: {stop.override}"
        sentences.insert(1, _praise_stop(whole[stop.name]) + " The best pruning is slower:")
        return Advice("stop", stop, [*sentences, *notes])
    return Advice("prune", best, [*sentences, *notes])


def _as_good(row: Row) -> bool:
    """Says whether stopping early is measurably faster and not measurably worse."""
    return row.speedup >= SPEED and row.change > -1.0 and row.change_high >= 0


def _beats(stop: Row, prune: Row) -> bool:
    return stop.speedup >= prune.speedup and stop.change >= prune.change


def _same_cost(whole: dict[str, Row], settings: list[Setting], row: Row) -> Row | None:
    stops = [whole[s.name] for s in settings if s.kind == "stop"]
    return min(stops, key=lambda r: abs(r.flops - row.flops), default=None)


def _praise(row: Row) -> str:
    sentence = (
        f"It is {row.speedup:.2f} x as fast ({row.audio_per_second:.0f} s of sound per second) at "
        f"{row.flops:.2f} of the operations; centred cosine {row.cosine:.3f} (5th percentile "
        f"{row.cosine_p05:.3f}), {100 * row.overlap:.0f} % of the nearest neighbours stay"
    )
    if np.isnan(row.change):
        return sentence + "."
    return sentence + (
        f", {100 * row.agreement:.1f} % of the predictions stay, macro-F1 {row.change_words()}."
    )


def _praise_stop(row: Row) -> str:
    fast = f"It is {row.speedup:.2f} x as fast at {row.flops:.2f} of the operations"
    return f"{fast}, and macro-F1 changes by {row.change_words()}."


def _caveats(full: Row, measured: Measured) -> list[str]:
    sentences = []
    if full.utterances < MIN_UTTERANCES:
        sentences.append(
            f"The checks are meant for {MIN_UTTERANCES} utterances; these are {full.utterances}, "
            "so their limits are crossed by chance more easily."
        )
    if np.isnan(full.macro_f1):
        sentences.append(
            "Without labels nothing is known of macro-F1, and stopping early cannot be judged."
        )
    else:
        sentences.append(
            "Predictions are those of a logistic regression on vectors of the very setting, out of "
            "fold, whole groups apart; test rows were not touched."
        )
    if measured.unreadable:
        sentences.append(
            f"{counted(len(measured.unreadable), 'sound', 'was', 'were')} left out "
            f"({measured.unreadable[0]} ...)."
        )
    return sentences
