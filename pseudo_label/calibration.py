"""Calibration of class probabilities on out-of-fold gold."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def fit_temperature(
    logits: Tensor, y: Tensor, n_shrink: float = 50.0, low: float = 0.1, high: float = 10.0
) -> Tensor:
    """Returns the temperature T of least NLL of softmax(logits / T), shrunk to 1 for few rows, ().

    log T is multiplied by n / (n + n_shrink) (https://arxiv.org/abs/1706.04599 for the method).
    A grid in log T, then three finer ones around its best point: no optimiser that can fail.
    """
    n = len(y)
    if n == 0 or logits.shape[1] < 2:
        return logits.new_ones(())
    logits = logits.double()
    centre, half = (math.log(low) + math.log(high)) / 2, (math.log(high) - math.log(low)) / 2
    for _ in range(4):
        grid = torch.linspace(centre - half, centre + half, 41, dtype=torch.float64).tolist()
        nll = [float(F.cross_entropy(logits / math.exp(t), y)) for t in grid]
        centre, half = grid[min(range(len(nll)), key=nll.__getitem__)], half / 10
    centre = min(max(centre, math.log(low)), math.log(high))
    return torch.tensor(math.exp(centre * n / (n + n_shrink)), dtype=torch.float32)
