"""Which parts of a dataset a model looks at: layers of an encoder joined, modalities kept quiet.

A modality called `speech.3` is layer 3 of the encoder `speech`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from ..features.tensors import Vectors
from .dataset import Dataset


@dataclass
class Views:
    """What of a dataset a model looks at."""

    parts: dict[str, list[str]]  # view -> the modalities that lie side by side in it
    quiet: list[str] = field(default_factory=list)  # views heard only where no other is there

    def __str__(self) -> str:
        """Returns 'speech 1-3 (text where it is alone)'."""
        loud = " + ".join(_words(v, p) for v, p in self.parts.items() if v not in self.quiet)
        return f"{loud} ({', '.join(self.quiet)} where alone)" if self.quiet else loud


def _words(view: str, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    first, last = (part.rpartition(".")[2] for part in (parts[0], parts[-1]))
    return f"{view} {first}-{last}"


def layers_by_encoder(names: list[str]) -> dict[str, list[str]]:
    """Returns encoder -> its modalities, lowest layer first; one without layers is its own."""
    found: dict[str, list[str]] = {}
    for name in names:
        stem, dot, layer = name.rpartition(".")
        found.setdefault(stem if dot and layer.isdigit() else name, []).append(name)
    return {stem: sorted(parts, key=_layer) for stem, parts in found.items()}


def _layer(name: str) -> int:
    layer = name.rpartition(".")[2]
    return int(layer) if layer.isdigit() else 0


def joined(values: Mapping[str, Vectors], views: Views) -> dict[str, Vectors]:
    """Returns view -> (N, D): its parts of `values` side by side."""
    return {
        view: values[parts[0]] if len(parts) == 1 else torch.cat([values[p][:] for p in parts], -1)
        for view, parts in views.parts.items()
    }


def viewed(dataset: Dataset, views: Views) -> Dataset:
    """Returns the dataset with the views for modalities; parts of one view have one width."""
    names = list(dataset.values)
    present = [
        dataset.present[:, [names.index(name) for name in parts]].all(1)
        for parts in views.parts.values()
    ]
    blocks = {view: len(parts) for view, parts in views.parts.items() if len(parts) > 1}
    return replace(
        dataset, values=joined(dataset.values, views), present=torch.stack(present, 1),
        blocks=blocks, seen=None,
    )  # fmt: skip
