"""The trials of a search: trained warm starts, judged on gold out-of-fold rows alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...config import schema as settings
from ...devices import gpus_of
from ...errors import SemiError
from ...evaluation.multitask import YES
from ...parallel import EngineConfig, run_cells
from ...self_training.prepare import prepare
from ...self_training.state import RoundState
from ...threads import limited_threads
from ...training.dataset import Dataset
from ...training.rows import rows_to_train
from .batched_trials import together, warm_starts


class Trials:
    """Trains trials on one dataset; features are read again only where they change."""

    def __init__(self, base: settings.Config, path: str | None, overrides: Sequence[str]) -> None:
        self.path, self.overrides = path, list(overrides)
        self.base, self.manifest, _ = rows_to_train(base)
        self.kept: tuple[Any, Dataset] | None = None

    def config(self, words: Sequence[str]) -> settings.Config:
        """Returns the recipe with a trial's settings."""
        config = settings.load_config(self.path, [*self.overrides, *words])
        config = replace(config, engine="local", ray_address="", processes=0)
        return settings.without_recipe(config, "semi search")

    def dataset(self, config: settings.Config) -> Dataset:
        """Returns the tensors of a trial."""
        key = {k: v for k, v in settings.signature(config).items()
               if k.startswith(("encoders.", "features.", "task."))}  # fmt: skip
        if self.kept is None or self.kept[0] != key:
            config, manifest, splits = rows_to_train(config)
            self.kept = (key, prepare(config, manifest, splits, progress=False).dataset)
        return self.kept[1]

    def train(self, words: Sequence[str]) -> tuple[Dataset, settings.Config, RoundState]:
        """Returns a trained warm start."""
        config = self.config(words)
        dataset = self.dataset(config)
        return dataset, config, warm_starts(dataset, [config])[0]

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
        parts = []
        for places in together([config for _, config in good]):
            parts.append(([good[place] for place in places], done[0] if done else None))
        engine = self.base if done else EngineConfig()  # the first trial reads the rows for all
        gpus = gpus_of(self.base.device)
        for _, found in run_cells(engine, self.trained, parts, gpus=gpus):
            for number, facts in found.items():
                records[number] |= facts
        return [records[n] for n, _ in drawn]

    def trained(
        self, task: tuple[list[tuple[int, settings.Config]], dict | None]
    ) -> dict[int, dict[str, Any]]:
        """Returns what is kept of trials that are trained as one program, by number.

        Args:
            task: number and settings of each, and the record of trial 0 (None while it is judged).
        """
        part, first = task
        begin = time.monotonic()
        with limited_threads(self.base.threads):
            try:
                dataset = self.dataset(part[0][1])
                states = warm_starts(dataset, [config for _, config in part])
            except (SemiError, ValueError) as error:
                if part[0][0] == 0:
                    raise
                return {number: {"why": " ".join(str(error).split())} for number, _ in part}
        seconds = (time.monotonic() - begin) / len(part)
        return {
            number: _record(dataset, config, state, first, seconds, len(part))
            for (number, config), state in zip(part, states, strict=True)
        }


def _record(
    dataset: Dataset, config: settings.Config, state: RoundState, first: dict | None,
    seconds: float, together: int,
) -> dict[str, Any]:  # fmt: skip
    """Returns what is kept of a trained trial; `first` is trial 0, None while it is judged."""
    gold = dataset.gold.cpu().numpy()
    ids = dataset.ids[gold].tolist()
    if first is not None and ids != first["ids"]:
        return {"why": "it reads other gold rows than the recipe as given"}
    record: dict[str, Any] = {
        "value": state.metric, "se": state.se, "predicted": _predicted(state, config),
        "seconds": seconds, "together": together,
    }  # fmt: skip
    if first is None:
        label, group = dataset.label[dataset.gold].tolist(), dataset.group[gold].tolist()
        record |= {"ids": ids, "label": label, "group": group, "classes": dataset.classes}
        if by_values(config) and dataset.affect is not None:
            record["affect"] = dataset.affect[dataset.gold].tolist()
        elif dataset.multi is not None:
            record["several"] = dataset.multi[dataset.gold].long().tolist()
    return record


def by_values(config: settings.Config) -> bool:
    """Says whether trials are judged on valence and arousal."""
    return config.rounds.metric == "ccc"


def _predicted(state: RoundState, config: settings.Config) -> list:
    """Returns what the trial says of the gold rows out-of-fold, as it is judged."""
    if by_values(config) and state.outputs.affect is not None:
        return state.outputs.affect.oof.tolist()
    if config.task.multi:
        return (state.outputs.oof >= YES).long().tolist()
    return state.outputs.oof.argmax(1).tolist()
