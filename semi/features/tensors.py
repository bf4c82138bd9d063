"""What models are given: one vector of each modality a row, or packed frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor


class Vectors(Protocol):
    """The vectors (N, D) of N rows: a tensor, or what reads them from a file as they are asked for.

    Whoever needs some rows slices them out, and has a tensor; all at once are `vectors[:]`.
    """

    @property
    def shape(self) -> torch.Size:
        """(N, D), or (N, T, D) of frames."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Tensor: ...

    def split(self, rows: int, /) -> Iterable[Tensor]:
        """Yields all rows, so many at a time."""
        ...

    def dim(self) -> int:
        """Number of dimensions."""
        ...

    def to(self, device: Any, /) -> Any:
        """Returns the vectors on a device."""
        ...


@dataclass
class Features:
    """The features of N utterances in M modalities."""

    values: Mapping[str, Vectors]  # modality -> (N, D) float32, zeros where missing
    present: Tensor  # (N, M) bool, columns in the order of `names`
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = self.names or list(self.values)

    def __len__(self) -> int:
        return len(self.present)

    @property
    def dims(self) -> dict[str, int]:
        """Size D of each modality."""
        return {name: self.values[name].shape[1] for name in self.names}

    def rows(self, index: Tensor) -> Features:
        """Returns the features of some rows, given by number or by mask."""
        values = {name: value[index] for name, value in self.values.items()}
        return Features(values, self.present[index], list(self.names))

    def to(self, device: str | torch.device) -> Features:
        """Returns the features on another device."""
        values = {name: value.to(device) for name, value in self.values.items()}
        return Features(values, self.present.to(device), list(self.names))


@dataclass
class Frames:
    """The frames of N utterances in one modality, packed without padding."""

    values: Tensor  # (T_total, D) float32
    offsets: Tensor  # (N + 1,) int64: row i has frames offsets[i] .. offsets[i + 1]
    present: Tensor  # (N,) bool; a missing row has no frames

    def __len__(self) -> int:
        return len(self.present)

    def row(self, i: int) -> Tensor:
        """Returns the frames (T, D) of one utterance."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def owner(self) -> Tensor:
        """Returns the row (T_total,) int64 that each frame belongs to."""
        return torch.repeat_interleave(torch.arange(len(self)), self.offsets.diff())

    def padded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, T, D) of some rows, padded with zeros, and the mask (B, T) of real frames."""
        lengths = self.offsets.diff()[rows]
        steps = torch.arange(int(lengths.max()) if len(rows) else 0)
        mask = steps < lengths[:, None]  # (B, T)
        at = (self.offsets[rows][:, None] + steps).clamp(max=max(len(self.values) - 1, 0))
        return self.values[at] * mask[..., None], mask  # (B, T, D)


def in_order(features: Features | None, widths: dict[str, int], n: int) -> Features:
    """Returns the features of n rows with exactly these modalities, in this order.

    One that is not there is absent in every row, with zeros of the width D given.
    """
    features = features or Features({}, torch.zeros(n, 0, dtype=torch.bool))
    values = {m: features.values.get(m, torch.zeros(n, width)) for m, width in widths.items()}
    present = [
        features.present[:, features.names.index(m)]
        if m in features.names
        else torch.zeros(n).bool()
        for m in widths
    ]
    return Features(values, torch.stack(present, 1), list(widths))
