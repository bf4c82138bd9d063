"""Store and manifest into tensors: raw features of every row, and which rows have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.encoders.array_files import released

from ..data.wording import counted
from ..errors import StoreError
from .extract import look_up, make_sources
from .in_place import read_vectors
from .mapped import MANY, MappedVectors
from .notes import nothing_usable
from .quarantine import read_quarantine
from .snapshot import Snapshot
from .sources import Limits, RowSource
from .store import FeatureStore, Shelf
from .tensors import Features, Frames, Vectors

__all__ = ["Features", "Frames", "load_features", "load_frames"]

if TYPE_CHECKING:
    from models.encoders import Encoder

    from .sources import Rows


def load_features(
    table: Rows,
    encoders: dict[str, Encoder],
    store: FeatureStore,
    *,
    limits: Limits | None = None,
    workers: int = 2,
) -> Features:
    """Returns the raw features of a table's rows from the store; nothing is encoded.

    An encoder that keeps layers apart (shape (L, D)) becomes the modalities `speech.3`,
    `speech.6` ..., or one (N, L * D) where they are joined. StoreError when rows have not been
    extracted or a modality has no row at all.
    """
    sources = make_sources(table, encoders, store, limits=limits, workers=workers)
    values: dict[str, Vectors] = {}
    present: dict[str, Tensor] = {}
    for name, encoder in encoders.items():
        if name not in sources:
            values[name], present[name] = read_vectors(name, table, encoder)
            continue
        found = _find(name, sources[name], store.shelf(name, encoder.identity()), limits)
        if found.snapshot.offsets is not None:
            raise StoreError(
                f"The {name} encoder keeps frames (pooling: frames), which this model cannot read: "
                "set pooling to mean or mean_std, or choose a model of sequences"
            )
        readable = torch.from_numpy(found.at >= 0)
        if len(found.at) >= MANY and len(encoder.shape) == 1:
            values[name], present[name] = found.mapped(readable, encoder.shape[0]), readable
            continue
        rows = found.snapshot.rows(found.at.clip(min=0))  # (N, *shape)
        rows[found.at < 0] = 0.0
        for part, value in by_modality(name, encoder, torch.from_numpy(rows)).items():
            values[part], present[part] = value, readable
    return Features(values, torch.stack(list(present.values()), dim=1), list(values))


def load_frames(
    table: Rows,
    encoders: dict[str, Encoder],
    store: FeatureStore,
    *,
    limits: Limits | None = None,
    workers: int = 2,
) -> dict[str, Frames]:
    """Returns the packed frames of each modality; one that is stored as vectors has T = 1."""
    sources = make_sources(table, encoders, store, limits=limits, workers=workers)
    frames = {}
    for name, encoder in encoders.items():
        if name not in sources:
            vectors, here = read_vectors(name, table, encoder)
            offsets = torch.cat([torch.zeros(1, dtype=torch.long), here.long().cumsum(0)])
            frames[name] = Frames(vectors[here], offsets, here)
            continue
        found = _find(name, sources[name], store.shelf(name, encoder.identity()), limits)
        readable = found.at >= 0
        if found.snapshot.offsets is None:
            values, lengths = found.snapshot.rows(found.at[readable]), readable.astype(np.int64)
        else:
            values, packed = found.snapshot.frames(found.at[readable])
            lengths = np.zeros(len(readable), np.int64)
            lengths[readable] = np.diff(packed)
        offsets = torch.from_numpy(np.concatenate([[0], lengths.cumsum()]))
        for part, value in by_modality(name, encoder, torch.from_numpy(values)).items():
            frames[part] = Frames(value, offsets, torch.from_numpy(readable))
    return frames


@dataclass
class _Found:
    snapshot: Snapshot
    at: np.ndarray  # (N,) int64 position of each row, -1 where it is missing

    def mapped(self, readable: Tensor, width: int) -> MappedVectors:
        """Returns the vectors, left in the store; every one is checked whenever it is read."""

        def read(at: np.ndarray) -> np.ndarray:
            found = self.snapshot.rows(at)
            if self.snapshot.data is not None:
                released(self.snapshot.data)
            return found

        return MappedVectors(read, self.at.clip(min=0), readable, width)


def _find(name: str, source: RowSource, shelf: Shelf, limits: Limits | None) -> _Found:
    """Returns where each row is; StoreError when rows are not extracted or none can be used."""
    snapshot = shelf.open()
    at, reasons = look_up(source, snapshot, read_quarantine(shelf), limits or Limits())
    wanted = int((source.keys != b"").sum()) + len(source.problems)
    lacking = wanted - int((at >= 0).sum()) - len(reasons)
    if lacking:
        raise StoreError(
            f"The feature store at {shelf.folder} lacks the {name} features of {lacking} of "
            f"{counted(wanted, 'row')}; run `semi extract` with the same configuration first"
        )
    if not (at >= 0).any():
        example = next(iter(reasons.values()), "")
        raise StoreError(nothing_usable(name, source.kind, wanted, example))
    return _Found(snapshot, at)


def joins_layers(encoder: Encoder) -> bool:
    """Says whether an encoder's layers lie side by side in one modality (combine: joined)."""
    return getattr(getattr(encoder, "config", encoder), "combine", "") == "joined"


def layer_counts(encoders: dict[str, Encoder]) -> dict[str, int]:
    """Returns how many layers lie side by side in each modality whose encoder joins several."""
    return {
        name: encoder.shape[0]
        for name, encoder in encoders.items()
        if joins_layers(encoder) and len(encoder.shape) > 1
    }


def by_modality(name: str, encoder: Encoder, values: Tensor) -> dict[str, Tensor]:
    """Returns (n, D) for each modality that an encoder's result (n, D) or (n, L, D) stands for."""
    if values.ndim == 2:
        return {name: values}
    if joins_layers(encoder):
        return {name: values.flatten(1)}
    layers = getattr(encoder, "layers", None) or range(values.shape[1])
    return {f"{name}.{layer}": values[:, i].contiguous() for i, layer in enumerate(layers)}
