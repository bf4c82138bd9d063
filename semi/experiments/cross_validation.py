"""`semi folds`: a recipe trained once for each part held out as test; every gold row scored once.

The parts together are written like an ensemble, so that they can be compared with other runs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import seal
from ..config import schema as settings
from ..data.wording import counted
from ..errors import RunError
from ..evaluation.as_tables import ShownAsTables
from ..evaluation.text import percent, table
from ..files import write_dir, write_json
from ..runs.ensemble_folder import ENSEMBLE
from ..runs.predictions import Predictions, write_predictions
from ..runs.reopen import PROBS, predictions_of
from ..runs.scores import Score, names_of, score_of
from .whole_runs import train_runs


@dataclass(repr=False)
class Folds(ShownAsTables):
    """What all parts of a recipe came to."""

    path: str
    kind: str
    parts: list[str]  # the runs, in order
    scores: list[Score]  # of each part on its own test rows
    pooled: Score  # of all test rows together: one table of counts, each row once
    notes: list[str] = field(default_factory=list)

    def mean(self, name: str) -> tuple[float, float]:
        """Returns the mean of a score over the parts, and the deviation of the parts."""
        values = [s.metrics[name] for s in self.scores if name in s.metrics]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    def __str__(self) -> str:
        """Returns a line per part, their mean and deviation, and the pooled scores."""
        names = names_of(self.kind)
        body = [
            [Path(p).name, str(s.rows), *(percent(s.metrics.get(m)) for m in names)]
            for p, s in zip(self.parts, self.scores, strict=True)
        ]
        spread = [self.mean(m) for m in names]
        body.append(["mean of parts", "", *(percent(m) for m, _ in spread)])
        body.append(["their deviation", "", *(percent(d) for _, d in spread)])
        ends = [(self.pooled.metrics[m], self.pooled.intervals[m]) for m in names]
        body.append(["all rows together", str(self.pooled.rows),
                     *(percent(v, i.low, i.high) for v, i in ends)])  # fmt: skip
        return "\n".join([
            f"In % on gold held-out test rows; 95 % intervals over {self.pooled.units}:", "",
            table(["part", "rows", *names.values()], body), *["", *self.notes],
            f"Next: semi compare {self.path} ...",
        ])  # fmt: skip


def all_folds(path: str | None, overrides: Sequence[str] = (), *, progress: bool = True) -> Folds:
    """Trains a recipe with data.test_fold 1 to data.test_folds and pools the test answers.

    Parts that are finished are not trained again, so an interrupted call goes on.
    """
    base = settings.load_config(path, [*overrides, "data.test_fold=1"])
    target = Path(base.path)
    if target.exists() and not (target / ENSEMBLE).is_file():
        raise RunError(f"{target} exists and is no pool of parts; choose another name=...")
    configs = []
    for number in range(1, base.data.test_folds + 1):
        config = copy.deepcopy(base)
        config.data.test_fold, config.name = number, f"{base.name}-fold{number}"
        configs.append(config)
    runs = train_runs(configs, progress=progress)
    parts = [predictions_of(run) for run in runs]
    whole, notes = pool(parts, target.name)
    scores, pooled = [score_of(part, "test") for part in parts], score_of(whole, "test")
    done = Folds(str(target), whole.kind, runs, scores, pooled, notes)
    write_pool(done, whole, base)
    return done


def pool(parts: list[Predictions], name: str) -> tuple[Predictions, list[str]]:
    """Returns every row as the part said that held it out as test, and notes.

    A row that no part held out has no role and is scored nowhere.
    """
    first = parts[0]
    whole = replace(
        first, name=name, probs=np.full_like(first.probs, np.nan),
        role=np.full(len(first.ids), "unused", dtype="<U8"), notes=[],
        affect=None if first.affect is None else np.full_like(first.affect, np.nan),
        label=first.label.copy(), several=copy.copy(first.several),
        affect_truth=copy.copy(first.affect_truth),
    )  # fmt: skip
    times = np.zeros(len(first.ids), dtype=int)
    for part in parts:
        if part.manifest != first.manifest or part.classes != first.classes:
            raise RunError(f"{part.name} and {first.name} were trained on different data")
        rows = part.rows("test")
        times[rows] += 1
        whole.probs[rows], whole.role[rows] = part.probs[rows], "test"
        whole.label[rows] = part.label[rows]  # it may be hidden in another part
        for mine, own in ((whole.several, part.several), (whole.affect_truth, part.affect_truth)):
            if mine is not None and own is not None:
                mine[rows] = own[rows]
        if whole.affect is not None and part.affect is not None:
            whole.affect[rows] = part.affect[rows]
    if times.max(initial=0) > 1:
        raise RunError(
            f"{counted(int((times > 1).sum()), 'row', 'was', 'were')} held out by several parts"
        )
    left = int((np.any([p.label >= 0 for p in parts], 0) & (times == 0)).sum())
    return whole, [f"{counted(left, 'gold row', 'was', 'were')} in no part"] if left else []


def write_pool(done: Folds, whole: Predictions, base: settings.Config) -> None:
    """Writes ensemble.json and the probabilities of all rows, with names."""

    def flat(score: Score) -> dict[str, Any]:
        intervals = {k: v.to_dict() for k, v in score.intervals.items()}
        return score.metrics | {"rows": score.rows, "intervals": intervals}

    data = base.data
    with write_dir(done.path, replace=True) as folder:
        for name in (PROBS, "probs.csv", "probs.npz"):
            write_predictions(folder / name, whole)
        write_json(folder / ENSEMBLE, {
            "kind": whole.kind, "manifest": whole.manifest, "members": done.parts, "weights": [],
            "how": f"{counted(len(done.parts), 'held-out part')}, each row said by the model "
            "that never saw "
            "its group", "classes": whole.classes, "rule": "folds", "seed": base.seed,
            "model": base.model.kind, "split_kind": f"{data.fold_method}, "
            f"{counted(data.test_folds, 'part')}",
            "leaks_allowed": ", ".join(data.allow_leaks), "notes": done.notes,
            "parts": [flat(s) for s in done.scores], "metrics": {"test": flat(done.pooled)},
        })  # fmt: skip
        seal(folder)
