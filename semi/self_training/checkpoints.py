"""Finished rounds as immutable folders of a run, and the way back from them.

round-RR/: state.safetensors (all tensors), voter.json, round.json (for people and the report),
ledger.parquet, checksums.json. A folder appears whole or not at all, so a kill costs the unfinished
round only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..checksums import seal
from ..config.schema import Config
from ..files import (
    read_json,
    read_table,
    read_tensors,
    write_dir,
    write_json,
    write_table,
    write_tensors,
)
from ..training.dataset import Dataset
from ..training.ensemble import Ensemble
from ..training.teacher import AffectOutputs, Voter, outputs_of_logits
from .ledger import merge_rounds, round_rows
from .record import round_record
from .run_dir import Run
from .state import PseudoLabels, RoundState
from .tasks import TASKS

STATE, VOTER, ROUND_JSON, LEDGER = "state.safetensors", "voter.json", "round.json", "ledger.parquet"
AFFECT = ("oof", "pool", "pool_spread")
OnRecord = Callable[[RoundState, dict], None]  # of every newly finished round


def read_round(folder: Path, dataset: Dataset) -> RoundState:
    """Returns the finished round of a folder, on the device of the dataset it was made of."""
    tensors = {k: v.to(dataset.device) for k, v in read_tensors(folder / STATE).items()}
    record, saved = read_json(folder / ROUND_JSON), read_json(folder / VOTER)
    state = RoundState(
        number=record["round"],
        ensemble=_ensemble(saved["ensemble"], tensors, dataset.device),
        outputs=outputs_of_logits(
            dataset,
            Voter.from_state(saved["voter"]),
            tensors["oof_logits"],
            tensors["pool_logits"],
        ),
        pseudo_labels=_pseudo_labels(tensors, dataset, record),
        coverage=record["coverage_asked"],
        metric=saved["metric"],
        se=saved["se"],
        information=saved.get("information"),
        agreement=saved.get("agreement"),
        accepted=record["accepted"],
        verdict=record["verdict"],
        alone=record.get("alone", False),
    )
    if "affect.oof" in tensors:
        state.outputs.affect = AffectOutputs(*(tensors[f"affect.{name}"] for name in AFFECT))
    return state


class RunRecorder:
    """Writes each judged round into its run directory and reads finished ones back."""

    def __init__(
        self, run: Run, dataset: Dataset, config: Config, on_record: OnRecord | None = None,
        features: str = "",
    ) -> None:  # fmt: skip
        self.run = run
        self.dataset = dataset
        self.config = config
        self.rule = config.select.rule
        self.on_record = on_record
        self.features = features  # SHA-256 of what the dataset was made of
        self.before: RoundState | None = None  # the accepted round the next one is taught by
        self.parts: list[pd.DataFrame] = []

    def go_on(self, rule: str, before: RoundState) -> None:
        """Keeps further rounds whose pseudo-labels come from `rule`, taught by `before`."""
        self.rule, self.before = rule, before

    def load_pretrained(self) -> dict[str, Tensor] | None:
        """Returns the pre-trained tensors of an interrupted run, or None."""
        path = self.run.path / "pretrained" / STATE
        return read_tensors(path) if path.is_file() else None

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
            write_json(folder / ROUND_JSON, record)
            if rows is not None:
                write_table(folder / LEDGER, rows)
        self._follow(state)
        self.run.log({"round": state.number, **record["metrics_oof"], "accepted": state.accepted})
        if self.on_record:
            self.on_record(state, record)

    def _follow(self, state: RoundState) -> None:
        path = self.run.round_dir(state.number) / LEDGER
        if path.is_file():
            self.parts.append(read_table(path))
        if state.accepted:
            self.before = state
        self.write_ledger()

    def write_ledger(self) -> None:
        """Writes ledger.csv and ledger.parquet of all finished rounds."""
        ledger = merge_rounds(self.parts)
        write_table(self.run.path / "ledger.csv", ledger)
        write_table(self.run.path / "ledger.parquet", ledger)


def _tensors(state: RoundState) -> dict[str, Tensor]:
    found = {
        "oof_logits": state.outputs.oof_logits,
        "pool_logits": state.outputs.pool_logits,
    }
    if state.outputs.affect is not None:
        found |= {f"affect.{name}": getattr(state.outputs.affect, name) for name in AFFECT}
    if state.pseudo_labels is not None:
        pseudo_labels = state.pseudo_labels
        for name in ("chosen", "label", "weight", "probs", "threshold", "reason"):
            found[f"picked.{name}"] = getattr(pseudo_labels, name)
        for k, chain in enumerate(pseudo_labels.state):
            found |= {f"rule.{k}.{name}": torch.as_tensor(v) for name, v in chain.items()}
    if state.ensemble is not None and state.accepted:
        found |= {f"ensemble.{k}": v for k, v in state.ensemble.tensors().items()}
    return {k: v.detach().cpu().contiguous() for k, v in found.items()}


def _ensemble(spec: dict | None, tensors: dict[str, Tensor], device) -> Ensemble | None:
    if spec is None:
        return None
    start = len("ensemble.")
    own = {k[start:]: v for k, v in tensors.items() if k.startswith("ensemble.")}
    return Ensemble.from_state(spec, own, device=device)


def _pseudo_labels(
    tensors: dict[str, Tensor], dataset: Dataset, record: dict
) -> PseudoLabels | None:
    if "picked.chosen" not in tensors:
        return None
    chains: list[dict[str, Tensor]] = [{} for _ in range(dataset.folds + 1)]
    for key, value in tensors.items():
        if key.startswith("rule."):
            _, k, name = key.split(".", 2)
            chains[int(k)][name] = value
    names = ("chosen", "label", "weight", "probs", "threshold", "reason")
    kept = {name: tensors[f"picked.{name}"] for name in names}
    return PseudoLabels(**kept, state=chains, notes=record.get("notes", []))
