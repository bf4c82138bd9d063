"""The trials of a search: trained warm starts, judged on gold out-of-fold rows alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ...config import schema as settings
from ...config.task import task_of
from ...errors import SemiError
from ...evaluation.multitask import YES
from ...self_training.prepare import prepare
from ...self_training.state import RoundState
from ...self_training.targets import read_data
from ...training.dataset import Problem
from .batched_trials import together, warm_starts


class Trials:
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
        return problem, config, warm_starts(problem, [config])[0]

    def trials(self, drawn: list[tuple[int, list[str]]], done: list[dict]) -> list[dict]:
        """Returns the records of a batch in order; what cannot be trained is a failed one."""
        records = {
            n: {"number": n, "words": words, "value": None, "se": None, "why": "",
                "predicted": None}
            for n, words in drawn
        }  # fmt: skip
        good: list[tuple[int, settings.Config]] = []
        for number, words in drawn:
            try:
                good.append((number, self.config(words)))
            except (SemiError, ValueError) as error:
                records[number]["why"] = " ".join(str(error).split())
        for places in together([config for _, config in good]):
            part = [good[place] for place in places]
            begin = time.monotonic()
            try:
                problem = self.problem(part[0][1])
                states = warm_starts(problem, [config for _, config in part])
            except (SemiError, ValueError) as error:
                if part[0][0] == 0:
                    raise
                for number, _ in part:
                    records[number]["why"] = " ".join(str(error).split())
                continue
            seconds = (time.monotonic() - begin) / len(part)
            for (number, config), state in zip(part, states, strict=True):
                first = done[0] if done else None
                records[number] |= _record(problem, config, state, first, seconds, len(part))
        return [records[n] for n, _ in drawn]


def _record(
    problem: Problem, config: settings.Config, state: RoundState, first: dict | None,
    seconds: float, together: int,
) -> dict[str, Any]:  # fmt: skip
    """Returns what is kept of a trained trial; `first` is trial 0, None while it is judged."""
    gold = problem.gold.cpu().numpy()
    ids = problem.ids[gold].tolist()
    if first is not None and ids != first["ids"]:
        return {"why": "it reads other gold rows than the recipe as given"}
    record: dict[str, Any] = {
        "value": state.metric, "se": state.se, "predicted": _predicted(state, config),
        "seconds": seconds, "together": together,
    }  # fmt: skip
    if first is None:
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
