"""`semi search`: better settings for the warm start, judged on gold out-of-fold rows alone.

A trial is a supervised training without rounds. Every finished trial is a file, so a killed search
goes on where it stopped and ends as if nothing had happened. The best of many trials looks better
than it is; how much is estimated by choosing on some speakers and scoring on others.

Letters: T trials, n gold rows, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import config as settings
from .errors import RunError, SemiError
from .files import read_json, write_json
from .problem import Problem
from .round_report import measured, shipped_answer
from .rounds import RoundState, learned_start, warm_start
from .run import locked
from .search_gain import corrected_gain
from .search_space import Parameter, read_space, word
from .self_training import NAMES, prepare
from .task_config import task_of
from .task_metrics import YES
from .task_report import measured_task
from .tasks import read_data
from .words import percent, scored, table
from .yaml_text import all_keys

SAMPLERS = ("tpe", "random")
SHOWN = 10  # trials in the table


@dataclass
class Found:
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
        name = NAMES.get(self.metric, self.metric)
        order = sorted(self.trials, key=lambda t: (-_value(t), t["number"]))
        body = [
            [str(t["number"]), " ".join(t["words"]) or "(as given)", percent(t["value"]),
             percent(t["se"])]
            for t in order[:SHOWN] if t["value"] is not None
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
                f"On {self.test['rows']} test rows, scored for the chosen trial only: {name} "
                f"{scored(self.test, self.metric)}"
                + (f" (test rows have been looked at {self.test_looks} times by this search)"
                   if self.test_looks > 1 else "") + "."
            )  # fmt: skip
        return "\n".join([*lines, *self.notes, f"Next: semi train {self.folder}/best.yaml"])


def search(
    path: str | None, space: str | Path, overrides: Sequence[str] = (), *, trials: int = 20,
    sampler: str = "tpe", progress: bool = True,
) -> Found:  # fmt: skip
    """Tries settings until there are `trials` of them in `<runs_dir>/<name>-search/`.

    Args:
        path: the recipe.
        space: YAML file of what may vary; see `read_space`.
        overrides: key=value words on top of the recipe.
        trials: how many in all, the recipe as given (trial 0) included.
        sampler: tpe (Optuna's default) or random.
        progress: a line per trial on stderr.
    """
    if sampler not in SAMPLERS:
        raise SemiError(f"sampler must be {' or '.join(SAMPLERS)}, got '{sampler}'")
    if trials < 2:
        raise SemiError(f"trials must be at least 2, got {trials}")
    base = settings.load_config(path, overrides)
    parameters = read_space(space, all_keys(settings.Config))
    if base.threads:
        torch.set_num_threads(base.threads)
    folder = Path(f"{base.path}-search")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        bench = _Bench(base, path, overrides)
        _bind(folder, base, parameters, sampler, bench.manifest.sha256)
        done = _finished(folder)
        for number in range(len(done), trials):
            words = _ask(parameters, done, base.seed, sampler) if number else []
            record = bench.trial(number, words, done)
            write_json(folder / f"trial-{number:04d}.json", record)
            done = _finished(folder)
            if progress:
                _tell(record)
        return _report(folder, bench, done)


class _Bench:
    """Trains trials on one problem; features are read again only where they change."""

    def __init__(self, base: settings.Config, path: str | None, overrides: Sequence[str]) -> None:
        self.base, self.path, self.overrides = base, path, list(overrides)
        self.manifest, _ = read_data(base)
        self.kept: tuple[Any, Problem] | None = None

    def config(self, words: Sequence[str]) -> settings.Config:
        """Returns the recipe with a trial's settings."""
        return settings.load_config(self.path, [*self.overrides, *words])

    def problem(self, config: settings.Config) -> Problem:
        """Returns the tensors of a trial."""
        key = {k: v for k, v in settings.signature(config).items()
               if k.startswith(("encoders.", "features.", "task."))}  # fmt: skip
        if self.kept is None or self.kept[0] != key:
            manifest, splits = read_data(config)
            self.kept = (key, prepare(config, manifest, splits, progress=False).problem)
        return self.kept[1]

    def train(self, words: Sequence[str]) -> tuple[Problem, settings.Config, RoundState]:
        """Returns a trained warm start."""
        config = self.config(words)
        problem = self.problem(config)
        wanted = config.contrast.pretrain_steps > 0 and config.contrast.any
        wanted &= config.model.kind == "contrastive"  # no other kind has anything to contrast
        learned = learned_start(problem, config) if wanted else {}
        return problem, config, warm_start(problem, config, learned)

    def trial(self, number: int, words: list[str], done: list[dict]) -> dict[str, Any]:
        """Returns the record of one trial; one that cannot be trained is a failed one."""
        begin = time.monotonic()
        record: dict[str, Any] = {"number": number, "words": words, "value": None, "se": None,
                                  "why": "", "predicted": None}  # fmt: skip
        try:
            problem, config, state = self.train(words)
        except (SemiError, ValueError) as error:
            if number == 0:
                raise
            return record | {"why": " ".join(str(error).split())}
        gold = problem.gold.cpu().numpy()
        ids = problem.ids[gold].tolist()
        if done and ids != done[0]["ids"]:
            return record | {"why": "it reads other gold rows than the recipe as given"}
        record |= {
            "value": state.metric,
            "se": state.se,
            "predicted": _predicted(state, config),
            "seconds": time.monotonic() - begin,
        }
        if number == 0:
            label, group = problem.label[problem.gold].tolist(), problem.group[gold].tolist()
            record |= {"ids": ids, "label": label, "group": group, "classes": problem.classes}
            if by_values(config) and problem.affect is not None:
                record["affect"] = problem.affect[problem.gold].tolist()
            elif problem.multi is not None:
                record["several"] = problem.multi[problem.gold].long().tolist()
        return record


def by_values(config: settings.Config) -> bool:
    """Says whether trials are judged on valence and arousal."""
    return config.rounds.metric == "ccc"


def _predicted(state: RoundState, config: settings.Config) -> list:
    """Returns what the trial says of the gold rows out-of-fold, as it is judged."""
    if by_values(config) and state.teaching.affect is not None:
        return state.teaching.affect.oof.tolist()
    if task_of(config).multi:
        return (state.teaching.oof >= YES).long().tolist()
    return state.teaching.oof.argmax(1).tolist()


def _ask(parameters: list[Parameter], done: list[dict], seed: int, sampler: str) -> list[str]:
    """Returns the next settings; they depend on the seed and the finished trials alone."""
    try:
        import optuna
    except ImportError:
        raise SemiError("a search needs Optuna: pip install 'semi-emotion[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[sampler]
    study = optuna.create_study(
        direction="maximize", sampler=kind(seed=(seed * 100_003 + len(done)) % 2**32)
    )
    spread = {p.key: p.distribution() for p in parameters}
    for trial in done[1:]:
        state = optuna.trial.TrialState.COMPLETE
        if trial["value"] is None:
            state = optuna.trial.TrialState.FAIL
        drawn = _drawn(parameters, trial["words"])
        study.add_trial(optuna.trial.create_trial(
            params=drawn, distributions=spread, value=trial["value"], state=state
        ))  # fmt: skip
    asked = study.ask(fixed_distributions=spread)
    return [word(p.key, asked.params[p.key]) for p in parameters]


def _drawn(parameters: list[Parameter], words: list[str]) -> dict[str, Any]:
    """Returns the values behind a trial's words."""
    texts = dict(w.split("=", 1) for w in words)
    return {
        p.key: texts[p.key] if p.choices
        else int(texts[p.key]) if p.whole else float(texts[p.key])
        for p in parameters
    }  # fmt: skip


def _bind(
    folder: Path, base: settings.Config, parameters: list[Parameter], sampler: str, manifest: str
) -> None:
    """Writes down what is searched, or refuses to mix it with another search."""
    import json

    from .files import jsonable

    now = json.loads(json.dumps(jsonable({
        "recipe": settings.signature(base), "space": [vars(p) for p in parameters],
        "sampler": sampler, "manifest": manifest,
    })))  # fmt: skip
    before = read_json(folder / "search.begun.json")
    if before is not None and before != now:
        what = [k for k in now if before.get(k) != now[k]]
        raise RunError(
            f"{folder} holds a search with another {' and '.join(what)}; finish that one, or "
            "choose another name=..."
        )
    if before is None:
        write_json(folder / "search.begun.json", now)


def _finished(folder: Path) -> list[dict]:
    return [read_json(p) for p in sorted(folder.glob("trial-*.json"))]


def _report(folder: Path, bench: _Bench, done: list[dict]) -> Found:
    """Writes search.json and best.yaml; scores the chosen trial on test rows, no other."""
    good = [t for t in done if t["value"] is not None]
    best = max(good, key=lambda t: (t["value"], -t["number"]))
    before = read_json(folder / "search.json") or {}
    looked = dict(before.get("test_by_trial") or {})
    config = bench.config(best["words"])
    if str(best["number"]) not in looked:
        problem, config, state = bench.train(best["words"])
        looked[str(best["number"])] = _on_test(problem, state, config)
    found = Found(
        folder=str(folder),
        metric=config.rounds.metric,
        trials=done,
        best=best["number"],
        gain=best["value"] - done[0]["value"],
        corrected=corrected_gain(good, config.rounds.metric, config.seed),
        test=looked[str(best["number"])],
        test_looks=len(looked),
    )
    write_json(folder / "search.json", {
        "best": found.best, "words": best["words"], "metric": found.metric, "value": best["value"],
        "se": best["se"], "gain": found.gain, "corrected_gain": found.corrected,
        "trials": len(done), "failed": len(done) - len(good), "test_by_trial": looked,
        "settings": [{k: t[k] for k in ("number", "words", "value", "se")} for t in done],
    })  # fmt: skip
    config.name = f"{config.name}-best"
    settings.save(config, folder / "best.yaml")
    return found


def _on_test(problem: Problem, state: RoundState, config: settings.Config) -> dict | None:
    rows = problem.test[problem.label[problem.test] >= 0]
    said = shipped_answer(problem, state, rows)
    if said is None:
        return None
    affect = None if said.affect is None else said.affect.cpu().numpy()
    return measured_task(problem, config, rows, said.probs.cpu().numpy(), affect, measured)


def _value(trial: dict) -> float:
    return -np.inf if trial["value"] is None else trial["value"]


def _tell(record: dict) -> None:
    import sys

    told = record["why"] or f"{record['value']:.4f}"
    print(f"trial {record['number']}: {told}  {' '.join(record['words'])}", file=sys.stderr)
