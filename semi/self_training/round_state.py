"""The tensors of a finished round, read back: held against the data before they are used.

A run without checksums may hold anything. What does not fit the data is refused here, where the
file is known, and not met later as a stack trace or, worse, as other numbers.

Letters: G chains, H heads, n gold rows, P pool rows, C classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.fusion.config import ON_AXES

from ..config.learning import LearningConfig
from ..errors import RunError, reading
from ..files import ANEW, read_tensors
from ..shapes import NUMBER, read_shaped
from ..training.dataset import Dataset
from ..training.ensemble import Ensemble
from ..training.initialisation import untrained
from ..training.teacher import AffectOutputs
from ..training.voter import Voter
from .state import PseudoLabels

STATE, VOTER = "state.safetensors", "voter.json"
AFFECT = ("oof", "pool", "pool_spread")
VOTER_SHAPE = {
    "voter": {str: object}, "ensemble": ({str: object}, None), "metric": float, "se": NUMBER,
    "information?": NUMBER, "agreement?": NUMBER,
}  # fmt: skip
WHOLE, FRACTION, TRUTH = "whole numbers", "numbers", "true and false"


class SavedRound:
    """What a round's folder holds beside its account for people."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        """Reads voter.json and state.safetensors; RunError where they do not fit the data."""
        self.path, self.dataset = folder / STATE, dataset
        self.saved = read_shaped(folder / VOTER, VOTER_SHAPE)
        if self.saved is None:
            raise RunError(f"{folder / VOTER} is missing; {ANEW}")
        classes = len(dataset.classes)
        with reading(folder / VOTER, "the vote of a round", ANEW):
            self.voter = Voter.from_state(self.saved["voter"])
            self.voter.check(classes)
        if not self.path.is_file():
            raise RunError(f"{self.path} is missing; {ANEW}")
        self.tensors = {k: v.to(dataset.device) for k, v in read_tensors(self.path).items()}
        self.sizes = {"G": dataset.folds + 1, "H": len(self.voter.heads), "n": len(dataset.gold),
                      "P": len(dataset.pool), "C": classes, "2": 2}  # fmt: skip
        self.oof_logits = self._take("oof_logits", "H n C")

    def _take(self, name: str, shape: str, kind: str = FRACTION) -> Tensor:
        """Returns a tensor of the file; RunError where it is not there or of another shape."""
        value = self.tensors.get(name)
        if value is None:
            raise RunError(f"{self.path} lacks {name}; {ANEW}")
        wanted = tuple(self.sizes[letter] for letter in shape.split())
        whole = not value.is_floating_point() and value.dtype != torch.bool
        is_kind = {WHOLE: whole, TRUTH: value.dtype == torch.bool}
        if tuple(value.shape) != wanted or not is_kind.get(kind, value.dtype == torch.float32):
            raise RunError(
                f"{self.path} has {name} of shape {tuple(value.shape)} and type "
                f"{str(value.dtype).removeprefix('torch.')}, these data have {kind} of shape "
                f"{wanted} ({shape}); {ANEW}"
            )
        if kind == FRACTION and bool(value.isnan().any()):
            raise RunError(f"{self.path} has {name} with values that are no numbers (NaN); {ANEW}")
        return value

    def ensemble(self) -> Ensemble | None:
        """Returns the models of an accepted round, None of one that was rolled back."""
        spec, dataset = self.saved["ensemble"], self.dataset
        if spec is None:
            return None
        start = len("ensemble.")
        own = {k[start:]: v for k, v in self.tensors.items() if k.startswith("ensemble.")}
        with reading(self.path, "the models that voter.json describes", ANEW):
            found = Ensemble.from_state(spec, own, device=dataset.device)
        if found.dims != dataset.dims or found.classes != len(dataset.classes):
            raise RunError(
                f"{self.path} has models of {found.dims} and {found.classes} classes, these data "
                f"have {dataset.dims} and {len(dataset.classes)}; {ANEW}"
            )
        if found.count % self.sizes["G"]:
            raise RunError(
                f"{self.path} has {found.count} models, which {self.sizes['G']} chains cannot "
                f"share; {ANEW}"
            )
        return found

    def affect(self) -> AffectOutputs | None:
        """Returns what is said of valence and arousal; None where nothing is."""
        if f"affect.{AFFECT[0]}" not in self.tensors:
            return None
        shapes = zip(AFFECT, ("n 2", "G P 2", "G P 2"), strict=True)
        return AffectOutputs(*(self._take(f"affect.{name}", shape) for name, shape in shapes))

    def pseudo_labels(self, notes: list[str]) -> PseudoLabels | None:
        """Returns what the round learned beside gold, None of a warm start."""
        if not any(name.startswith("picked.") for name in self.tensors):
            return None
        chosen = self._take("picked.chosen", "G P", TRUTH)
        label = self._take("picked.label", "G P", WHOLE).long()
        outside = int(((label < 0) | (label >= self.sizes["C"]))[chosen].sum())
        if outside:
            raise RunError(f"{self.path} has {outside} labels of no class; {ANEW}")
        return PseudoLabels(
            chosen=chosen,
            label=label,
            weight=self._take("picked.weight", "G P"),
            probs=self._take("picked.probs", "P C"),
            threshold=self._take("picked.threshold", "C"),
            reason=self._take("picked.reason", "P", WHOLE),
            state=self._rule_states(),
            notes=notes,
        )

    def _rule_states(self) -> list[dict[str, Tensor]]:
        """Returns what the selection rule keeps from round to round, chain by chain."""
        chains: list[dict[str, Tensor]] = [{} for _ in range(self.sizes["G"])]
        for key, value in self.tensors.items():
            if key.startswith("rule."):
                _, number, *name = key.split(".", 2)
                if not number.isdigit() or int(number) >= len(chains) or not name:
                    raise RunError(f"{self.path} has {key}, which is of no chain; {ANEW}")
                chains[int(number)][name[0]] = value
        alike = [{k: (v.shape, v.dtype) for k, v in chain.items()} for chain in chains]
        sizes = {self.sizes["P"], self.sizes["C"]}
        for number, chain in enumerate(chains):
            if alike[number] != alike[0] or any(not _sound(k, chain, sizes) for k in chain):
                raise RunError(
                    f"{self.path} has tensors of chain {number}, rule.{number}.*, that no rule "
                    f"keeps for these data; {ANEW}"
                )
        return chains


def _sound(name: str, chain: dict[str, Tensor], sizes: set[int]) -> bool:
    """Says whether a tensor that a rule keeps is of finite numbers, of pool rows and classes."""
    value = chain[name]
    if not set(value.shape) <= sizes or not bool(value.isfinite().all()):
        return False
    if name != "temporal_probs":
        return True
    mass = chain.get("temporal_mass", torch.zeros(()))
    return value.dim() == 2 and bool(((value.sum(1) - mass).abs() < 1e-2).all())


def read_learned(path: Path, dataset: Dataset, config: LearningConfig) -> dict[str, Tensor]:
    """Returns what a begun run learned without labels; RunError where it is not of these data.

    Args:
        path: pretrained/state.safetensors; it is empty where nothing was learned.
        dataset: the data.
        config: the settings of the run.
    """
    learned = read_tensors(path)
    if config.model.kind in ON_AXES:
        wanted = {}
        for i, dims in enumerate(dataset.dims.values()):
            wanted[f"views.{i}.center"] = (1, dims)
            wanted[f"views.{i}.basis"] = (1, dims, min(config.model.components, dims))
        lacking = sorted(wanted.keys() - learned.keys())
    else:
        like, lacking = untrained(dataset, config, config.train.members), []
        wanted = {name: tuple(value.shape) for name, value in like.params.items()}
    odd = [
        name for name, value in learned.items()
        if wanted.get(name) != tuple(value.shape) or value.dtype != torch.float32
        or not bool(value.isfinite().all())
    ]  # fmt: skip
    if name := next(iter([*lacking, *odd]), ""):
        raise RunError(
            f"{path} has in {name} not what {config.model.kind} learns from these data without "
            f"labels; {ANEW}"
        )
    return learned
