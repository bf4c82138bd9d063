"""Finished rounds as immutable folders of a run, and the way back from them.

round-RR/: state.safetensors (all tensors), voter.json, round.json (for people and the report),
ledger.parquet, checksums.json. A folder appears whole or not at all, so a kill costs the unfinished
round only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..checksums import seal
from ..config.schema import Config
from ..evaluation.ledger_file import LEDGER_TABLE
from ..evaluation.run_json import ROUND, read_round_record
from ..files import (
    read_tensors,
    write_dir,
    write_json,
    write_tensors,
)
from ..training.dataset import Dataset
from ..training.teacher import outputs_of_logits
from .ledger import check_ledger, round_rows, write_round_ledger
from .merged_ledger import write_merged
from .record import round_record
from .round_state import AFFECT, STATE, VOTER, SavedRound, read_learned
from .run_dir import Run
from .state import RoundState
from .tasks import TASKS

PICKED = ("chosen", "label", "weight", "probs", "threshold", "reason")
CSV_BELOW = 100_000  # utterances; no spreadsheet opens what so many make in some rounds
LIVE = 5_000  # pool rows up to which the merged ledger is written anew after every round
OnRecord = Callable[[RoundState, dict], None]  # of every newly finished round
OnRead = Callable[[RoundState], None]  # of every finished round that is read back


def read_round(folder: Path, dataset: Dataset) -> RoundState:
    """Returns the finished round of a folder, on the device of the dataset it was made of.

    RunError where the folder does not hold a round of these data.
    """
    record, held = read_round_record(folder), SavedRound(folder, dataset)
    state = RoundState(
        number=record["round"],
        ensemble=held.ensemble(),
        outputs=outputs_of_logits(dataset, held.voter, held.oof_logits),
        pseudo_labels=held.pseudo_labels(record.get("notes") or []),
        coverage=record["coverage_asked"],
        metric=held.saved["metric"],
        se=held.saved["se"],
        information=held.saved.get("information"),
        agreement=held.saved.get("agreement"),
        accepted=record["accepted"],
        verdict=record["verdict"],
        alone=record.get("alone", False),
    )
    state.outputs.affect = held.affect()
    return state


class RunRecorder:
    """Writes each judged round into its run directory and reads finished ones back."""

    def __init__(
        self, run: Run, dataset: Dataset, config: Config, on_record: OnRecord | None = None,
        features: str = "", on_read: OnRead | None = None,
    ) -> None:  # fmt: skip
        self.run = run
        self.dataset = dataset
        self.config = config
        self.rule = config.select.rule
        self.on_record, self.on_read = on_record, on_read
        self.features = features  # SHA-256 of what the dataset was made of
        self.before: RoundState | None = None  # the accepted round the next one is taught by
        self.ledgers: list[Path] = []  # of the finished rounds

    def go_on(self, rule: str, before: RoundState) -> None:
        """Keeps further rounds whose pseudo-labels come from `rule`, taught by `before`."""
        self.rule, self.before = rule, before

    def load_pretrained(self) -> dict[str, Tensor] | None:
        """Returns the pre-trained tensors of an interrupted run, or None."""
        path = self.run.path / "pretrained" / STATE
        return read_learned(path, self.dataset, self.config) if path.is_file() else None

    def save_pretrained(self, tensors: dict[str, Tensor]) -> None:
        """Keeps what pre-training learned; an empty dict says that there was none."""
        with write_dir(self.run.path / "pretrained") as folder:
            write_tensors(folder / STATE, tensors)
            seal(folder)

    def load(self, number: int) -> RoundState | None:
        """Returns a finished round, or None when it must still be done."""
        folder = self.run.round_dir(number)
        if not folder.is_dir():
            return None
        state = read_round(folder, self.dataset)
        self._follow(state)
        if self.on_read:
            self.on_read(state)
        return state

    def save(self, state: RoundState) -> None:
        """Writes a judged round whole, then the ledger so far and the round's metrics line."""
        record = round_record(self.dataset, state, self.config, self.rule)
        tensors, rows = _tensors(state), None
        if state.pseudo_labels is not None and self.before is not None:
            task = TASKS[self.config.task.kind]
            rows = round_rows(self.dataset, state, self.before, self.rule, task)
        spec = state.ensemble.spec() if state.ensemble is not None and state.accepted else None
        saved = {
            "voter": state.outputs.voter.state_dict(),
            "ensemble": spec,
            "metric": state.metric,
            "se": state.se,
            "information": state.information,
            "agreement": state.agreement,
        }
        with self.run.write_round(state.number, self.features) as folder:
            write_tensors(folder / STATE, tensors)
            write_json(folder / VOTER, saved)
            write_json(folder / ROUND, record)
            if rows is not None:
                write_round_ledger(folder / LEDGER_TABLE, rows)
        if self.before is not None:
            self.before.last_logits = None  # its pool was asked for this round
        self._follow(state)
        self.run.log({"round": state.number, **record["metrics_oof"], "accepted": state.accepted})
        if self.on_record:
            self.on_record(state, record)
        self._put_away(state)

    def _put_away(self, state: RoundState) -> None:
        """Puts maps of the round's file in the place of its pseudo-labels: the same numbers.

        Rounds are kept to the end, and all of them would take a pool's memory once each.
        """
        if state.pseudo_labels is not None:
            held = read_tensors(self.run.round_dir(state.number) / STATE)
            labels = {name: held[f"picked.{name}"].to(self.dataset.device) for name in PICKED}
            state.pseudo_labels = replace(state.pseudo_labels, negative=None, **labels)

    def _follow(self, state: RoundState) -> None:
        path = self.run.round_dir(state.number) / LEDGER_TABLE
        if path.is_file():
            check_ledger(path, self.dataset.ids[self.dataset.pool.cpu().numpy()], state.number)
            self.ledgers.append(path)
        if state.accepted:
            self.before = state
        if len(self.dataset.pool) <= LIVE:
            self.write_ledger()

    def write_ledger(self) -> None:
        """Writes ledger.parquet of all finished rounds, and ledger.csv where `ledger` says so."""
        asked = self.config.ledger
        small = len(self.dataset.ids) < CSV_BELOW
        as_csv = asked == "csv" or (asked == "auto" and small)
        write_merged(self.ledgers, self.run.path, len(self.dataset.pool), as_csv=as_csv)


def _tensors(state: RoundState) -> dict[str, Tensor]:
    found = {"oof_logits": state.outputs.oof_logits}
    if state.outputs.affect is not None:
        found |= {f"affect.{name}": getattr(state.outputs.affect, name) for name in AFFECT}
    if state.pseudo_labels is not None:
        pseudo_labels = state.pseudo_labels
        for name in PICKED:
            found[f"picked.{name}"] = getattr(pseudo_labels, name)
        if pseudo_labels.probs.shape[1] <= 128:  # a fifth of the file is spared by whole bytes
            found["picked.label"] = pseudo_labels.label.to(torch.int8)
        for k, chain in enumerate(pseudo_labels.state):
            found |= {f"rule.{k}.{name}": torch.as_tensor(v) for name, v in chain.items()}
    if state.ensemble is not None and state.accepted:
        found |= {f"ensemble.{k}": v for k, v in state.ensemble.tensors().items()}
    return {k: v.detach().cpu().contiguous() for k, v in found.items()}
