"""Losses of a student against a teacher's stored outputs (..., B, C). VMAP.

A teacher that is an ensemble hands over the log of its mean probability as its logits.
"""

from __future__ import annotations

from torch import Tensor

from .reduce import exact, keep_rows, row_weight, weighted_mean


def kl(
    student: Tensor, teacher: Tensor, weight: Tensor | None = None, *, temperature: float = 2.0
) -> Tensor:
    """Returns T^2 KL(softmax(teacher / T) || softmax(student / T)), both given as logits.

    T^2 keeps the gradient's size independent of T (https://arxiv.org/abs/1503.02531).
    """
    w = row_weight(student[..., 0], weight)
    student = (keep_rows(exact(student), w) / temperature).log_softmax(-1)
    teacher = (keep_rows(exact(teacher), w) / temperature).log_softmax(-1)
    per = (teacher.exp() * (teacher - student)).sum(-1)
    return temperature**2 * weighted_mean(per, w)


def mse_on_logits(student: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns the mean squared error of raw logits, for comparison with published systems."""
    w = row_weight(student[..., 0], weight)
    gap = keep_rows(exact(student), w) - keep_rows(exact(teacher), w)
    return weighted_mean(gap.square().mean(-1), w)
