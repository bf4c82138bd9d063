"""`semi ensemble`: several finished runs as one vote over calibrated probabilities.

Letters: A members, N utterances, n gold rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checksums import seal
from ..data.wording import counted
from ..errors import RunError
from ..evaluation.as_tables import ShownAsTables
from ..evaluation.text import over, percent, points, scored, table
from ..files import write_dir, write_json
from .ensemble_folder import ENSEMBLE
from .ensemble_weights import fit, mix
from .predictions import Predictions, refuse_other_rows, write_predictions
from .reopen import PROBS, members_of
from .scores import gap_of, main_metric, names_of, score_of

COMPARED_SPLITS = ("test", "oof")
SPLIT_TITLES = {"test": "held-out test rows", "oof": "out-of-fold training rows"}


@dataclass(repr=False)
class Mixed(ShownAsTables):
    """An ensemble and its members, scored on the same rows."""

    path: str
    members: list[str]
    weights: list[float]  # (A,) on the simplex
    how: str  # where the weights come from
    classes: list[str]
    metrics: dict[str, dict[str, dict]]  # split -> name (members, then "ensemble") -> metrics
    gain: dict[str, dict]  # split -> difference to the best member, with its interval
    notes: list[str] = field(default_factory=list)
    kind: str = "single"  # task.kind of the members

    def __str__(self) -> str:
        """Returns the weights, a table of scores and the recall of every class, by member."""
        lines = [f"{self.path}: {counted(len(self.members), 'member')}, {self.how}", ""]
        lines += [f"  {w:.3f}  {m}" for m, w in zip(self.members, self.weights, strict=True)]
        names = names_of(self.kind)
        for split, by_name in self.metrics.items():
            first = next(iter(by_name.values()))
            spread = "recall_std" in first
            body = [
                [name, str(m["rows"]), *(scored(m, k) for k in names),
                 *([percent(m["recall_std"])] if spread else [])]
                for name, m in by_name.items()
            ]  # fmt: skip
            head = ["", "rows", *names.values(), *(["recall std"] if spread else [])]
            lines += [
                "",
                f"In % on gold {SPLIT_TITLES[split]}{over(first)}:",
                "",
                table(head, body),
            ]
            if "recall" not in first:
                continue
            members = list(by_name)
            body = [
                [c, *(percent(by_name[n]["recall"][k]) for n in members)]
                for k, c in enumerate(self.classes)
            ]
            lines += ["", "recall of each class:", "", table(["class", *members], body)]
        for split, gain in self.gain.items():
            lines += ["", _gain(split, gain, self.kind)]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])


def ensemble(
    paths: Sequence[str], *, weights: str | Sequence[float] = "fitted", output: str = "ensemble"
) -> Mixed:
    """Mixes finished runs and writes `<runs_dir>/<output>/`: ensemble.json, probs.npz, .csv.

    Args:
        paths: runs, ensembles, or files of probabilities; a run first, at least two in all.
        weights: fitted (on gold out-of-fold, shrunk to equal), uniform, or one number a member.
        output: a name beside the first run, or a path.
    """
    if len(paths) < 2:
        raise RunError("an ensemble needs at least two members; name two or more runs")
    target = Path(output) if "/" in output else Path(paths[0]).resolve().parent / output
    if target.exists() and not (target / ENSEMBLE).is_file():
        raise RunError(f"{target} exists and is no ensemble; choose another name with -o NAME")
    members = members_of(list(paths))
    first = members[0]
    for other in members[1:]:
        refuse_other_rows(first, other, COMPARED_SPLITS)
    every, gold = np.arange(len(first.ids)), first.rows("oof")
    share, how = _weights(weights, members, gold)
    mixed = _mixed(members, share, every)
    crossed = mixed
    if how.startswith("fitted"):
        crossed = _cross_fitted(members, mixed, gold)
    judged = [*members, replace(crossed, name="ensemble")]
    metrics = {
        split: {m.name: _measure(m, split) for m in judged}
        for split in COMPARED_SPLITS
        if len(first.rows(split))
    }
    best = members[_best(metrics, members)]
    gain = {split: _paired(judged[-1], best, split) for split in metrics}
    notes = [f"{m.name}: {note}" for m in members for note in m.notes]
    if how.startswith("fitted"):
        notes.append(
            "On gold training rows the ensemble's weights were fitted without the row's own fold."
        )
    done = Mixed(
        str(target), [m.name for m in members], share.tolist(), how, first.classes, metrics, gain,
        notes, first.kind,
    )  # fmt: skip
    _write(done, replace(crossed, name=target.name), list(paths))
    return done


def _write(done: Mixed, vote: Predictions, paths: list[str]) -> None:
    """Writes ensemble.json and the vote on every row, with names and without."""
    with write_dir(done.path, replace=True) as folder:
        for name in (PROBS, "probs.csv", "probs.npz"):
            write_predictions(folder / name, vote)
        write_json(folder / ENSEMBLE, {
            "kind": done.kind, "manifest": vote.manifest, "members": paths,
            "weights": done.weights, "how": done.how, "classes": done.classes,
            "metrics": done.metrics, "gain": done.gain, "notes": done.notes,
        })  # fmt: skip
        seal(folder)


def _weights(given: Any, members: list[Predictions], gold: np.ndarray) -> tuple[torch.Tensor, str]:
    """Returns the weights (A,) and a sentence on where they come from."""
    count = len(members)
    if isinstance(given, str):
        if given == "uniform":
            return torch.full((count,), 1 / count).double(), "equal weights"
        if given != "fitted":
            raise RunError(f"weights must be fitted, uniform or numbers, got '{given}'")
        weights, note = fit(members, gold)
        return weights, f"fitted weights ({note})"
    share = torch.tensor([float(w) for w in given], dtype=torch.float64)
    if len(share) != count:
        raise RunError(
            f"{counted(len(share), 'weight', 'was', 'were')} given for {counted(count, 'member')}; "
            "one number each"
        )
    if not bool((share >= 0).all()) or float(share.sum()) <= 0:
        raise RunError(f"weights must be >= 0 and not all 0, got {list(given)}")
    return share / share.sum(), "weights as given"


def _mixed(members: list[Predictions], weights: torch.Tensor, rows: np.ndarray) -> Predictions:
    """Returns the vote on `rows`, in place of the first member's answers there."""
    first = members[0]
    mixed, values = mix(members, weights, rows)
    probs, affect = first.probs.copy(), None if first.affect is None else first.affect.copy()
    probs[rows] = mixed.numpy()
    if affect is not None and values is not None:
        affect[rows] = values.numpy()
    return replace(first, probs=probs, affect=affect, notes=[])


def _cross_fitted(members: list[Predictions], mixed: Predictions, gold: np.ndarray) -> Predictions:
    """Returns the vote with gold rows mixed by weights that were fitted on the other folds."""
    part, done = members[0].fold[gold], replace(mixed, probs=mixed.probs.copy())
    for k in np.unique(part):
        held, others = gold[part == k], gold[part != k]
        vote = _mixed(members, fit(members, others)[0], held)
        done.probs[held] = vote.probs[held]
        if done.affect is not None and vote.affect is not None:
            done.affect[held] = vote.affect[held]
    return done


def _measure(one: Predictions, split: str) -> dict:
    score = score_of(one, split)
    intervals = {k: v.to_dict() for k, v in score.intervals.items()}
    return score.facts | score.metrics | {
        "rows": score.rows, "left_out": score.left_out, "intervals": intervals
    }  # fmt: skip


def _best(metrics: dict, members: list[Predictions]) -> int:
    """Returns the member to beat: chosen on out-of-fold gold, never on test rows."""
    name = main_metric(members[0].kind)
    values = [metrics["oof"][m.name].get(name, -np.inf) for m in members]
    return int(np.argmax(values))


def _paired(one: Predictions, best: Predictions, split: str) -> dict[str, Any]:
    gap = gap_of(one, best, split)
    difference = gap.differences[main_metric(one.kind)]
    return {"against": best.name, "rows": gap.rows, **difference.to_dict()}


def _gain(split: str, gain: dict, kind: str) -> str:
    low, high = gain["low"], gain["high"]
    proven = "" if low > 0 or high < 0 else "; the interval holds 0, so no difference is shown"
    name = names_of(kind)[main_metric(kind)]
    return (
        f"On {gain['rows']} {SPLIT_TITLES[split]}: {name} {points(gain['value'], low, high)} "
        f"over {gain['units']} {gain['unit']} against {gain['against']}, the best member by "
        f"out-of-fold {name}{proven}."
    )
