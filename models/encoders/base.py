"""What every encoder looks like from outside, and what it says when it cannot be had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

SAMPLE_RATE = 16_000  # of all sound that an encoder is given


class EncoderUnavailable(RuntimeError):
    """The weights cannot be had; one sentence that names the local-folder alternative."""


@runtime_checkable
class Encoder(Protocol):
    """Turns a list of utterances into one vector each, every row on its own.

    A row's result does not depend on its batch mates, their lengths or their number (<= 1e-5 in
    fp32). Inputs are float32 `(samples,)` arrays at 16 kHz for speech, `str` for text, and ids or
    paths for precomputed arrays. Missing rows are the caller's business: they are not passed.
    """

    modality: str
    """`speech`, `text`, or the name of any further modality."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one utterance's result: `(D,)`, or `(L, D)` when layers are kept as views."""
        ...

    def identity(self) -> dict[str, Any]:
        """Returns, as JSON-able values, everything that changes the numbers and nothing else."""
        ...

    def encode(self, batch: list[Any]) -> torch.Tensor:
        """Returns `(B, *shape)` float32 on the CPU, rows in the order given."""
        ...


@dataclass
class ArrayProblem:
    """One item of a precomputed modality that cannot be used, and why."""

    item: str
    kind: str
    """`missing` (no such file or id: the row lacks this modality) or `damaged` (quarantine it)."""
    reason: str


@dataclass
class ArrayBatch:
    """What `PrecomputedEncoder.read` returns: good rows filled, the others zero and explained."""

    values: torch.Tensor  # (B, *shape) float32, zeros where not present
    present: torch.Tensor  # (B,) bool
    problems: list[ArrayProblem] = field(default_factory=list)
