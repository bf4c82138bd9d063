"""`semi search`: better settings for the warm start, judged on gold out-of-fold rows alone.

A trial is a supervised training without rounds. Trials are drawn in batches; those of a batch that
differ in rates, decay or smoothing alone are trained as one program. Every finished trial is a
file, so a killed search goes on where it stopped and ends as if nothing had happened. The best of
many looks better than it is; how much is estimated by choosing on some speakers and scoring on
others.

Letters: T trials, n gold rows, C classes.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...checksums import derived, digests
from ...config import schema as settings
from ...config.yaml_format import all_keys
from ...data.wording import counted
from ...errors import RunError, SemiError, reading
from ...evaluation.as_tables import ShownAsTables
from ...evaluation.names import METRIC_NAMES
from ...evaluation.text import percent, scored, table
from ...files import ANEW
from ...guarded_files import read_guarded, write_guarded
from ...parallel import connected
from ...self_training.lock import locked
from ...self_training.record import measured_on
from ...shapes import NUMBER
from ...threads import limited_threads
from .selection_bias import corrected_gain
from .space import Parameter, ask, read_space, refuse_idle
from .trials import Trials

SAMPLERS = ("tpe", "random")
TRIALS_SHOWN = 10  # trials in the table
TRIALS_AT_ONCE = 8
BEGUN = "search.begun.json"  # what is searched
TRIAL_SHAPE = {
    "number": int, "words": [str], "value": NUMBER, "se": NUMBER, "why": str,
    "predicted": ([object], None),
}  # fmt: skip
FIRST_SHAPE = TRIAL_SHAPE | {
    "value": float, "ids": [str], "label": [int], "group": [str], "classes": [str],
    "predicted": [object],
}  # fmt: skip


@dataclass(repr=False)
class SearchReport(ShownAsTables):
    """What a search brought."""

    folder: str
    metric: str
    trials: list[dict[str, Any]]  # number, words, value (None = failed), se, why, predicted
    best: int  # number of the chosen trial
    gain: float  # of the chosen one over the recipe as given, as it looks
    corrected: float | None  # the same after choosing and scoring on different speakers
    test: dict | None  # metrics of the chosen trial's model on test rows
    test_looks: int = 0  # how many different trials have ever been scored on test
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the best trials, and what to make of them."""
        name = METRIC_NAMES[self.metric]
        order = sorted(self.trials, key=lambda t: (-_value(t), t["number"]))
        body = [
            [str(t["number"]), " ".join(t["words"]) or "(as given)", percent(t["value"]),
             percent(t["se"])]
            for t in order[:TRIALS_SHOWN] if t["value"] is not None
        ]  # fmt: skip
        failed = [t for t in self.trials if t["value"] is None]
        best = next(t for t in self.trials if t["number"] == self.best)
        lines = [table(["trial", "settings", name, "SE"], body, left=2), ""]
        lines += [f"trial {t['number']} failed: {t['why']}" for t in failed[:5]]
        lines.append(
            f"Trial {self.best} is chosen of {len(self.trials)}: out-of-fold {name} "
            f"{100 * best['value']:.1f}, {100 * self.gain:+.1f} points over the recipe as given."
        )
        if self.corrected is not None:
            lines.append(
                f"The best of many looks better than it is: chosen on some speakers and scored on "
                f"others the gain is {100 * self.corrected:+.1f} points."
            )
        if self.test:
            lines.append(
                f"On {counted(self.test['rows'], 'test row')}, scored for the chosen trial only: "
                f"{name} {scored(self.test, self.metric)}"
                + (f" (test rows have been looked at {self.test_looks} times by this search)"
                   if self.test_looks > 1 else "") + "."
            )  # fmt: skip
        best = shlex.quote(f"{self.folder}/best.yaml")
        return "\n".join([*lines, *self.notes, f"Next: semi train {best}"])


def search(
    path: str | None, space: str | Path, overrides: Sequence[str] = (), *, trials: int = 20,
    sampler: str = "tpe", batch: int = TRIALS_AT_ONCE, progress: bool = True,
) -> SearchReport:  # fmt: skip
    """Tries settings until there are `trials` of them in `<runs_dir>/<name>-search/`.

    Args:
        path: the recipe.
        space: YAML file of what may vary; see `read_space`.
        overrides: key=value words on top of the recipe.
        trials: how many in all, the recipe as given (trial 0) included; as many more as make the
            last batch whole.
        sampler: tpe (Optuna's default) or random.
        batch: trials drawn at a time, without knowing of each other.
        progress: a line per trial on stderr.
    """
    if sampler not in SAMPLERS:
        raise SemiError(f"sampler must be {' or '.join(SAMPLERS)}, got '{sampler}'")
    if trials < 2:
        raise SemiError(f"trials must be at least 2, got {trials}")
    if batch < 1:
        raise SemiError(f"batch must be at least 1, got {batch}")
    base = settings.without_recipe(settings.load_config(path, overrides), "semi search")
    parameters = read_space(space, all_keys(settings.Config))
    refuse_idle(parameters, base.model.kind, space)
    folder = Path(f"{base.path}-search")
    folder.mkdir(parents=True, exist_ok=True)
    with limited_threads(base.threads), locked(folder), connected(base):
        bench = Trials(base, path, overrides)
        _bind(folder, base, parameters, sampler, batch, bench.manifest.sha256)
        done, begin = _finished(folder), 0
        while begin < trials or len(done) < begin:
            numbers = range(begin, begin + batch) if begin else range(1)
            begin = numbers.stop
            if numbers.stop <= len(done):
                continue
            known = done[: numbers.start]
            drawn = [
                (n, ask(parameters, known, base.seed, sampler, n) if n else []) for n in numbers
            ]
            for record in bench.trials(drawn, done):
                if record["number"] < len(done):
                    continue  # finished before the interruption
                write_guarded(folder / f"trial-{record['number']:04d}.json", record)
                if progress:
                    _tell(record)
            done = _finished(folder)
        return _report(folder, bench, done)


def _bind(
    folder: Path, base: settings.Config, parameters: list[Parameter], sampler: str, batch: int,
    manifest: str,
) -> None:  # fmt: skip
    """Writes down what is searched, or refuses to mix it with another search."""
    import json

    from ...files import jsonable

    now = json.loads(json.dumps(jsonable({
        "recipe": settings.signature(base), "space": [vars(p) for p in parameters],
        "sampler": sampler, "batch": batch, "manifest": manifest,
    })))  # fmt: skip
    before = read_guarded(folder / BEGUN, {"manifest": object})
    if before is not None and before != now:
        what = [k for k in now if before.get(k) != now[k]]
        raise RunError(
            f"{folder} holds a search with another {' and '.join(what)}; finish that one, or "
            "choose another name=..."
        )
    if before is None:
        write_guarded(folder / BEGUN, now)


def _finished(folder: Path) -> list[dict]:
    """Returns the records of the finished trials in order; RunError where one is missing."""
    done = []
    for path in sorted(folder.glob("trial-*.json")):
        record = read_guarded(path, TRIAL_SHAPE if done else FIRST_SHAPE)
        if (
            record is None
            or path.name != f"trial-{len(done):04d}.json"
            or record["number"] != len(done)
        ):
            raise RunError(
                f"{folder / f'trial-{len(done):04d}.json'} is missing; bring it back from a copy, "
                "or delete the trials after it, which are then tried again"
            )
        done.append(record)
    return done


def _report(folder: Path, bench: Trials, done: list[dict]) -> SearchReport:
    """Writes search.json and best.yaml; scores the chosen trial on test rows, no other."""
    good = [t for t in done if t["value"] is not None]
    best = max(good, key=lambda t: (t["value"], -t["number"]))
    before = read_guarded(folder / "search.json", {"test_by_trial?": ({str: object}, None)}) or {}
    looked = dict(before.get("test_by_trial") or {})
    config = bench.config(best["words"])
    if str(best["number"]) not in looked:
        dataset, config, state = bench.train(best["words"])
        looked[str(best["number"])] = measured_on(dataset, state, dataset.test, config)
    with reading(folder, "the folder of one search: its trials do not go together", ANEW):
        corrected = corrected_gain(good, config.rounds.metric, config.seed)
    report = SearchReport(
        folder=str(folder),
        metric=config.rounds.metric,
        trials=done,
        best=best["number"],
        gain=best["value"] - done[0]["value"],
        corrected=corrected,
        test=looked[str(best["number"])],
        test_looks=len(looked),
    )
    write_guarded(folder / "search.json", {
        "best": report.best, "words": best["words"], "metric": report.metric,
        "value": best["value"], "se": best["se"], "gain": report.gain,
        "corrected_gain": report.corrected,
        "trials": len(done), "failed": len(done) - len(good), "test_by_trial": looked,
        "settings": [{k: t[k] for k in ("number", "words", "value", "se")} for t in done],
        "files": digests(folder, ("search.json", "best.yaml")),
    })  # fmt: skip
    config.name = f"{config.name}-best"
    with derived(folder / "best.yaml"):
        settings.save(config, folder / "best.yaml")
    return report


def _value(trial: dict) -> float:
    return -np.inf if trial["value"] is None else trial["value"]


def _tell(record: dict) -> None:
    import sys

    outcome = record["why"] or f"{record['value']:.4f}"
    print(f"trial {record['number']}: {outcome}  {' '.join(record['words'])}", file=sys.stderr)
