"""`semi ensemble`: several finished runs as one vote over calibrated probabilities.

Letters: A members, N utterances, n gold rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pseudo_label.voting import fit_weights, soft_vote

from .answers import Answers, refuse_other_rows, write_answers
from .comparison import FEW
from .errors import RunError
from .evaluation import paired_bootstrap
from .files import write_dir, write_json
from .finished import ENSEMBLE, PROBS, members_of
from .round_report import measured
from .words import SCORES, percent, scored, table

SPLITS = ("test", "oof")
NAMES = {"test": "held-out test rows", "oof": "out-of-fold training rows"}
PAIRED = "macro_f1"  # the ensemble's gain over its best member is told in this metric
SEED = 0  # of the bootstrap


@dataclass
class Mixed:
    """An ensemble and its members, scored on the same rows."""

    path: str
    members: list[str]
    weights: list[float]  # (A,) on the simplex
    how: str  # where the weights come from
    classes: list[str]
    metrics: dict[str, dict[str, dict]]  # split -> name (members, then "ensemble") -> metrics
    gain: dict[str, dict]  # split -> difference to the best member, with its interval
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the weights, a table of scores and the recall of every class, by member."""
        lines = [f"{self.path}: {len(self.members)} members, {self.how}", ""]
        lines += [f"  {w:.3f}  {m}" for m, w in zip(self.members, self.weights, strict=True)]
        for split, by_name in self.metrics.items():
            rows = next(iter(by_name.values()))["rows"]
            body = [
                [name, percent(m["accuracy"]), *(scored(m, k) for k in SCORES),
                 percent(m["recall_std"])]
                for name, m in by_name.items()
            ]  # fmt: skip
            head = ["", "accuracy", *SCORES.values(), "recall std"]
            unit = next(iter(by_name.values()))["intervals"][PAIRED]
            over = f", 95 % intervals over {unit['units']} {unit['unit']}"
            lines += ["", f"In % on {rows} gold {NAMES[split]}{over}:", "", table(head, body)]
            names = list(by_name)
            body = [
                [c, *(percent(by_name[n]["recall"][k]) for n in names)]
                for k, c in enumerate(self.classes)
            ]
            lines += ["", "recall of each class:", "", table(["class", *names], body)]
        for split, gain in self.gain.items():
            lines += ["", _gain(split, gain)]
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
        refuse_other_rows(first, other, SPLITS)
    probs = torch.from_numpy(np.stack([m.probs for m in members]))
    present = torch.from_numpy(np.stack([m.answered for m in members], 1))
    gold = torch.from_numpy(first.rows("oof"))
    label = torch.from_numpy(first.label)
    share, how = _weights(weights, probs, label, present, gold)
    mixed = _mix(probs, share, present)
    crossed = mixed.clone()
    if how.startswith("fitted"):
        crossed[gold] = _cross_fitted(probs, label, present, gold, first.fold)
    one = _answers(first, target.name, crossed.numpy())
    judged = [*members, _answers(first, "ensemble", crossed.numpy())]
    metrics = {
        split: {m.name: _measure(m, split) for m in judged}
        for split in SPLITS
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
        notes,
    )  # fmt: skip
    with write_dir(target, replace=True) as folder:
        write_answers(folder / PROBS, one)
        write_answers(folder / "probs.csv", one)
        write_answers(folder / "probs.npz", one)
        write_json(folder / ENSEMBLE, {
            "manifest": first.manifest, "members": list(paths), "weights": share.tolist(),
            "how": how, "classes": first.classes, "metrics": metrics, "gain": gain, "notes": notes,
        })  # fmt: skip
    return done


def _weights(given, probs, label, present, gold) -> tuple[torch.Tensor, str]:
    """Returns the weights (A,) and a sentence on where they come from."""
    count = len(probs)
    if isinstance(given, str):
        if given == "uniform":
            return torch.full((count,), 1 / count).double(), "equal weights"
        if given != "fitted":
            raise RunError(f"weights must be fitted, uniform or numbers, got '{given}'")
        silent = ~present[gold].any(0)
        if silent.any():
            raise RunError(
                f"member {int(silent.nonzero()[0]) + 1} says nothing about gold training rows, so "
                "no weights can be fitted; give --weights uniform or numbers"
            )
        vote = fit_weights(probs[:, gold], label[gold], present=present[gold])
        told = (
            f"fitted weights ({vote.note}; log-loss {vote.nll:.3f}, equal {vote.nll_uniform:.3f})"
        )
        return torch.tensor(vote.weights).double(), told
    share = torch.tensor([float(w) for w in given]).double()
    if len(share) != count:
        raise RunError(f"{len(share)} weights were given for {count} members; one number each")
    if not bool((share >= 0).all()) or float(share.sum()) <= 0:
        raise RunError(f"weights must be >= 0 and not all 0, got {list(given)}")
    return share / share.sum(), "weights as given"


def _cross_fitted(probs, label, present, gold, fold: np.ndarray) -> torch.Tensor:
    """Returns (n, C) votes on gold, the weights of each fold fitted on the other folds."""
    part = torch.from_numpy(fold)[gold]
    out = torch.empty(len(gold), probs.shape[2], dtype=probs.dtype)
    for k in part.unique().tolist():
        here, rest = gold[part == k], gold[part != k]
        vote = fit_weights(probs[:, rest], label[rest], present=present[rest])
        out[part == k] = _mix(probs[:, here], torch.tensor(vote.weights), present[here])
    return out


def _mix(probs: torch.Tensor, weights: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Returns (N, C); NaN where no member with a weight has an answer."""
    said = soft_vote(probs.nan_to_num(0.0), weights, present)
    silent = ~(present & (weights > 0)).any(1)
    return said.masked_fill(silent[:, None], float("nan"))


def _answers(like: Answers, name: str, probs: np.ndarray) -> Answers:
    return Answers(name, like.ids, like.classes, probs, like.role, like.label, like.group,
                   like.fold, like.manifest)  # fmt: skip


def _measure(one: Answers, split: str) -> dict:
    rows = one.rows(split)
    return measured(one.filled()[rows], one.label[rows], one.group[rows], one.classes, SEED)


def _best(metrics: dict, members: list[Answers]) -> int:
    """Returns the member to beat: chosen on out-of-fold gold, never on test rows."""
    values = [metrics["oof"][m.name][PAIRED] for m in members]
    return int(np.argmax(values))


def _paired(one: Answers, best: Answers, split: str) -> dict[str, Any]:
    rows = one.rows(split)
    found = paired_bootstrap(
        one.filled()[rows], best.filled()[rows], one.label[rows], one.group[rows], PAIRED, seed=SEED
    )
    return {"against": best.name, **found.to_dict()}


def _gain(split: str, gain: dict) -> str:
    low, high = 100 * gain["low"], 100 * gain["high"]
    proven = "" if low > 0 or high < 0 else "; the interval holds 0, so no difference is shown"
    if gain["units"] < FEW:
        proven = f"; {gain['units']} {gain['unit']} are too few to show anything"
    return (
        f"On {NAMES[split]}: {SCORES[PAIRED]} {100 * gain['value']:+.1f} [{low:+.1f}, {high:+.1f}] "
        f"against {gain['against']}, the best member by out-of-fold {SCORES[PAIRED]}{proven}."
    )
