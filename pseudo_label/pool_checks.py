"""What a pool must be like: shapes that fit each other, probabilities that are some.

Each check is one pass over a tensor; the sentences name the field, what is wanted and what came.
"""

from __future__ import annotations

from numbers import Real
from typing import Protocol

import torch
from torch import Tensor

NEAR_ONE = 1e-2  # how far the sum of probabilities may be from 1: those of 16 bits round


class _Gold(Protocol):
    """What is checked of pseudo_label.pool.Gold."""

    probs: Tensor
    label: Tensor
    by_modality: Tensor | None
    features: Tensor | None
    group: Tensor | None
    external: Tensor | None


class _Pool(Protocol):
    """What is checked of pseudo_label.pool.Pool."""

    probs: Tensor
    prior: Tensor
    tie: Tensor
    assumed: Tensor | None
    rate: float
    round: int
    classes: list[str]
    by_modality: Tensor | None
    present: Tensor | None
    features: Tensor | None
    group: Tensor | None
    eligible: Tensor | None

    @property
    def gold(self) -> _Gold | None:
        """The gold rows."""
        ...


def check_pool(pool: _Pool) -> None:
    """Raises ValueError naming the first field of a pool that does not fit."""
    if not isinstance(pool.probs, Tensor) or pool.probs.ndim != 2:
        got = tuple(pool.probs.shape) if isinstance(pool.probs, Tensor) else repr(pool.probs)[:80]
        raise ValueError(f"probs must have shape (N, C), got {got}")
    rows, classes = pool.probs.shape
    _probabilities("probs", pool.probs)
    _required("prior", pool.prior, (classes,))
    _probabilities("prior", pool.prior)
    _required("tie", pool.tie, (rows,))
    _whole("tie", pool.tie)
    if pool.assumed is not None:
        _shape("assumed", pool.assumed, (classes,))
        _probabilities("assumed", pool.assumed)
    _shape("features", pool.features, (rows, None))
    _shape("eligible", pool.eligible, (rows,))
    _yes_or_no("eligible", pool.eligible)
    _shape("group", pool.group, (rows,))
    _whole("group", pool.group)
    for name in ("by_modality", "members", "external"):
        _shape(name, getattr(pool, name), (None, rows, classes))
    if pool.present is not None:
        views = None if pool.by_modality is None else len(pool.by_modality)
        _shape("present", pool.present, (rows, views))
        _yes_or_no("present", pool.present)
    if pool.classes and len(pool.classes) != classes:
        raise ValueError(f"classes has {len(pool.classes)} names for {classes} columns")
    if isinstance(pool.rate, bool) or not isinstance(pool.rate, Real) or not 0 < pool.rate <= 1:
        raise ValueError(f"rate must be in (0, 1], got {pool.rate!r}")
    if isinstance(pool.round, bool) or not isinstance(pool.round, int) or pool.round < 1:
        raise ValueError(f"round must be a whole number from 1 on, got {pool.round!r}")
    if pool.gold is not None:
        _check_gold(pool.gold, classes)


def _check_gold(gold: _Gold, classes: int) -> None:
    _required("gold.label", gold.label, (None,))
    rows = len(gold.label)
    _required("gold.probs", gold.probs, (rows, classes))
    _shape("gold.by_modality", gold.by_modality, (None, rows, classes))
    _shape("gold.external", gold.external, (None, rows, classes))
    _shape("gold.features", gold.features, (rows, None))
    _shape("gold.group", gold.group, (rows,))
    _probabilities("gold.probs", gold.probs)
    _whole("gold.label", gold.label)
    _whole("gold.group", gold.group)
    if rows and not 0 <= int(gold.label.min()) <= int(gold.label.max()) < classes:
        raise ValueError(
            f"gold.label must be in 0..{classes - 1}, got {int(gold.label.min())}.."
            f"{int(gold.label.max())}; rows without a label are no gold"
        )


def _required(name: str, tensor: Tensor | None, wanted: tuple[int | None, ...]) -> None:
    if tensor is None:
        raise ValueError(f"{name} must be a tensor, got None")
    _shape(name, tensor, wanted)


def _shape(name: str, tensor: Tensor | None, wanted: tuple[int | None, ...]) -> None:
    """Raises ValueError where a tensor is none or has another shape; None in `wanted` is any."""
    if tensor is None:
        return
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a tensor, got {tensor!r:.80}")
    fits = tensor.ndim == len(wanted) and all(
        w is None or w == s for w, s in zip(wanted, tensor.shape, strict=True)
    )
    if not fits:
        shown = ", ".join("any" if w is None else str(w) for w in wanted)
        raise ValueError(f"{name} must have shape ({shown}), got {tuple(tensor.shape)}")


def _probabilities(name: str, tensor: Tensor) -> None:
    """Raises ValueError unless all are finite, none below 0, and the last dimension sums to 1."""
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be floating point numbers, got {tensor.dtype}")
    if not tensor.numel():
        return
    sums = tensor.sum(-1)  # NaN and infinity reach the sum
    facts = sums.isfinite().all(), tensor.min(), (sums - 1).abs().max()
    finite, least, off = torch.stack([fact.double() for fact in facts]).tolist()  # read at once
    if not finite:
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if least < 0:
        raise ValueError(f"{name} must not be negative, got {least:g}")
    if off > NEAR_ONE:
        worst = float(sums.reshape(-1)[(sums - 1).abs().argmax()])
        each = "each row of " if tensor.ndim > 1 else ""
        raise ValueError(
            f"{each}{name} must sum to 1, got a sum of {worst:g}; apply softmax to logits, divide "
            "counts by their sum"
        )


def _whole(name: str, tensor: Tensor | None) -> None:
    if tensor is not None and tensor.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} must be whole numbers (int64), got {tensor.dtype}")


def _yes_or_no(name: str, tensor: Tensor | None) -> None:
    if tensor is not None and tensor.dtype != torch.bool:
        raise ValueError(f"{name} must be true or false (bool), got {tensor.dtype}")
