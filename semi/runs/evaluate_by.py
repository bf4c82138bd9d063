"""`evaluate_by(run, columns)`: a run's scores on each group of gold rows, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checksums import derived
from ..data.manifest import Manifest, load_manifest
from ..data.wording import counted, listed, shown
from ..errors import RunError
from ..evaluation.as_tables import ShownAsTables
from ..evaluation.by_group import (
    LEAST_ROWS,
    GoldAnswers,
    GroupScore,
    correct,
    score_groups,
    scores_of,
)
from ..evaluation.intervals import Interval
from ..evaluation.names import METRIC_NAMES
from ..evaluation.report_groups import GROUP_TABLE
from ..evaluation.run_json import read_result
from ..evaluation.text import p_words, percent, points, table
from ..files import check_table, write_table
from ..self_training.run_dir import Run
from .ensemble_folder import is_ensemble, read_ensemble
from .group_columns import Heard, group_column
from .predictions import Predictions
from .reopen import predictions_of

if TYPE_CHECKING:
    import pandas as pd

SMALL_SHOWN = 12  # small groups that the console names; the table has all
SIGNIFICANT = 0.05
SCORE_WORDS = METRIC_NAMES | {"valence_ccc": "valence CCC", "arousal_ccc": "arousal CCC"}


@dataclass
class ColumnScores:
    """The groups of one column, the worst first, those too small for an interval last."""

    column: str
    groups: list[tuple[str, GroupScore]]
    notes: list[str] = field(default_factory=list)


@dataclass(repr=False)
class ByGroup(ShownAsTables):
    """Scores of a run on each group of gold rows."""

    run: str
    split: str  # test | dev | oof
    metric: str  # what groups are compared in
    unit: str  # speaker, session, dialogue or group
    overall: dict[str, Interval]
    rows: int
    columns: list[ColumnScores]
    tested: int  # comparisons that Holm's correction is over
    notes: list[str] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """Returns every group and every score, unrounded; one row a group."""
        import pandas as pd

        return pd.DataFrame(
            [
                _row(part.column, value, score, self)
                for part in self.columns
                for value, score in part.groups
            ]
        )

    def __str__(self) -> str:
        """Returns a table for each column, and what it supports."""
        whole = self.overall[self.metric]
        what = {"oof": "out-of-fold training"}.get(self.split, self.split)
        name = SCORE_WORDS[self.metric]
        lines = [
            f"{self.run}: {counted(self.rows, f'gold {what} row')}, {name} "
            f"{percent(whole.value, whole.low, whole.high)} over {whole.over()}", *self.notes,
        ]  # fmt: skip
        for part in self.columns:
            lines += ["", *self._column(part)]
        if self.tested:
            lines += ["", f"p (Holm) is corrected for {counted(self.tested, 'comparison')} of a "
                      "group with all other rows."]  # fmt: skip
        return "\n".join(lines)

    def _column(self, part: ColumnScores) -> list[str]:
        large = [(v, s) for v, s in part.groups if not s.small]
        small = [(v, s) for v, s in part.groups if s.small]
        others = [m for m in self.overall if m != self.metric]
        head = [part.column, "rows", f"{self.unit}s", SCORE_WORDS[self.metric],
                *(SCORE_WORDS[m] for m in others), "against the rest", "p", "p (Holm)"]  # fmt: skip
        body = [
            [value, str(s.rows), str(s.units), _ends(s.scores.get(self.metric)),
             *(percent(s.scores[m].value) if m in s.scores else "-" for m in others),
             _gap(s.difference), p_words(s.p_value), p_words(s.p_holm)]
            for value, s in large
        ]  # fmt: skip
        lines = [table(head, body)] if body else []
        if small:
            names = [f"{shown(v, 40)} ({s.rows})" for v, s in small]
            lines.append(
                f"Too few rows for an interval (below {LEAST_ROWS}), with their counts: "
                f"{listed(names, SMALL_SHOWN)}"
            )
        return [*lines, *part.notes, *self._verdict(part.column, large)]

    def _verdict(self, column: str, large: list[tuple[str, GroupScore]]) -> list[str]:
        """Returns what the comparisons of a column support, and no more."""
        apart = [(v, s) for v, s in large if s.p_holm is not None and s.p_holm < SIGNIFICANT]
        lines = [
            f"{shown(v, 60)} is {'worse' if _value(s) < 0 else 'better'} than the rest by "
            f"{abs(100 * _value(s)):.1f} points (p {p_words(s.p_holm)} corrected)."
            for v, s in apart
        ]
        untold = {s.why_not for _, s in large if s.why_not}
        if not apart and any(s.p_holm is not None for _, s in large):
            lines = [f"No group of {column} is shown to differ from the rest."]
        least = [s.least_p for _, s in large if s.p_value is not None]
        if least and min(least) * self.tested > SIGNIFICANT and not apart:
            few = counted(max(s.units for _, s in large), self.unit)
            lines.append(
                f"Nor could one: whole {self.unit}s are permuted, and with at most {few} in a "
                f"group no p is below {p_words(min(least))}, which {self.tested} comparisons "
                "multiply."
            )
        return lines + [f"Not tested: {reason}." for reason in sorted(untold)]


def evaluate_by(
    run: str | Path, columns: Sequence[str], split: str = "test", *,
    places: Sequence[str] = (), output: str | Path | None = None,
) -> ByGroup:  # fmt: skip
    """Returns a run's scores on gold rows of `split` by the values of columns of its manifest.

    Every group has its rows, scores with 95 % intervals over speakers, its difference to all other
    rows and a p, which is corrected over all groups of all columns. Numbers are cut into quarters;
    `duration` and `snr` are measured from the sounds where no column has them; rows without a value
    are a group. The table is kept as groups.csv in the run, which `semi report` shows.

    Args:
        run: a finished run or an ensemble.
        columns: such as speaker, sex, language, session, duration, snr.
        split: test, dev or oof.
        places: where the data are now, as of `evaluate`.
        output: a table to write besides (.csv, .tsv, .parquet, .jsonl).
    """
    names = list(dict.fromkeys(name.strip() for name in columns if name.strip()))
    if not names:
        raise RunError("--by names no column; name some, as in --by speaker,sex,duration")
    if output is not None:
        check_table(output)
    predictions = predictions_of(run, places)
    rows = predictions.scored(split)
    if not len(rows):
        raise RunError(f"{run} has no gold row in the split {split}")
    manifest, kind, workers = _manifest(run, places, predictions.manifest)
    place = {name: i for i, name in enumerate(manifest.table["id"].astype(str))}
    where = np.array([place[name] for name in predictions.ids[rows]])
    heard: Heard = {}
    found = [group_column(manifest, name, where, workers, heard) for name in names]
    answers = answers_of(predictions, rows, kind)
    parts = [_scored(answers, column.values, column.order) for column in found]
    tested = correct([[score for _, score in part] for part in parts])
    lost = len(predictions.rows(split)) - len(rows)
    done = ByGroup(
        str(run), split, answers.metric, kind if kind not in ("", "none") else "group",
        scores_of(answers), len(rows),
        [ColumnScores(c.name, p, c.notes) for c, p in zip(found, parts, strict=True)], tested,
        [f"{lost} more cannot be read, left out as in its report"] * bool(lost),
    )  # fmt: skip
    if not is_ensemble(run):
        with suppress(RunError, OSError), derived(Path(run, GROUP_TABLE)):  # a run may be read-only
            write_table(Path(run, GROUP_TABLE), done.table())
    if output is not None:
        write_table(output, done.table())
    return done


def answers_of(predictions: Predictions, rows: np.ndarray, kind: str) -> GoldAnswers:
    """Returns what is said of some gold rows and what is true.

    Args:
        predictions: of a run.
        rows: (n,) answered gold rows.
        kind: of the groups: speaker, session, dialogue, none; "" unknown.
    """
    task, done = predictions.task, GoldAnswers(predictions.group[rows], kind)
    if predictions.affect is not None and predictions.affect_truth is not None:
        done.affect, done.affect_truth = predictions.affect[rows], predictions.affect_truth[rows]
    if task.multi and predictions.several is not None:
        done.several, done.probs = predictions.several[rows], predictions.probs[rows]
    elif predictions.kind != "affect":
        done.label, done.decided = predictions.label[rows], predictions.probs[rows].argmax(1)
    return done


def _scored(
    answers: GoldAnswers, values: np.ndarray, order: Sequence[str]
) -> list[tuple[str, GroupScore]]:
    """Returns the groups of a column, the worst first, the small ones behind."""
    found = list(zip(order, score_groups(answers, [np.flatnonzero(values == v) for v in order]),
                     strict=True))  # fmt: skip

    def place(one: tuple[str, GroupScore]) -> tuple[bool, float]:
        value = one[1].scores[answers.metric].value
        return one[1].small, float("inf") if np.isnan(value) else value

    return sorted(found, key=place)


def _manifest(
    run: str | Path, places: Sequence[str], sha256: str
) -> tuple[Manifest, str, int]:  # fmt: skip
    """Returns the manifest of a run or of an ensemble's first run, the kind of groups, threads.

    RunError where its bytes have another SHA-256.
    """
    seen = {str(run)}
    while is_ensemble(run):
        run = next(iter(read_ensemble(run)["members"]), "")
        if str(run) in seen:
            raise RunError(f"{run} is a member of itself; make that ensemble anew")
        seen.add(str(run))
    opened = Run.open(run, places)
    opened.need_manifest()
    data = opened.config.data
    kind = (read_result(run) or {}).get("group_kind") or ""
    manifest = load_manifest(data.manifest, data, sounds=False)
    if manifest.sha256 != sha256:
        raise RunError(
            f"{manifest.path} is not the table that {run} was made from (SHA-256 "
            f"{manifest.sha256[:12]}..., was {sha256[:12]}...); give that one as data.manifest=..."
        )
    return manifest, kind, data.workers


def _row(column: str, value: str, score: GroupScore, done: ByGroup) -> dict[str, Any]:
    gap = score.difference
    row: dict[str, Any] = {
        "column": column, "value": value, "rows": score.rows, "units": score.units,
        "unit": done.unit, "split": done.split, "metric": done.metric,
    }  # fmt: skip
    for name in done.overall:
        found = score.scores.get(name)
        ends = (found.value, found.low, found.high) if found else (None, None, None)
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
    return row | {
        "rest_rows": score.rest_rows,
        "difference": gap.value if gap else None,
        "difference_low": gap.low if gap else None,
        "difference_high": gap.high if gap else None,
        "p": score.p_value,
        "p_holm": score.p_holm,
        "note": score.why_not,
    }


def _ends(found: Interval | None) -> str:
    if found is None or np.isnan(found.value):
        return "-"
    return percent(found.value, *_known(found))


def _gap(found: Interval | None) -> str:
    return points(found.value, found.low, found.high) if found else "-"


def _known(found: Interval) -> tuple[float | None, float | None]:
    return (None, None) if np.isnan(found.low) else (found.low, found.high)


def _value(score: GroupScore) -> float:
    return score.difference.value if score.difference else 0.0
