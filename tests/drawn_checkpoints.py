"""Checkpoints whose weights are drawn by name and shape, and what the authors' code made of them.

The reference files (tests/reference/*.json) hold settings, names and shapes of the weights, and the
mean over frames of each layer that the authors' own code gave for `sound()`, in float32 on a CPU.
The weights themselves are `draw(shapes)`. They prove that the arithmetic is the same, no more.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

REFERENCE = Path(__file__).parent / "reference"
NEAR_ONE = ("norm.weight", "norm1.weight", "norm2.weight", "weight_g", "alibi_scale")


def reference(name: str) -> dict:
    return json.loads((REFERENCE / f"{name}.json").read_text())


def draw(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """One tensor a name: norms near 1, other weights small, from one generator in this order."""
    random = np.random.default_rng(0)
    weights = {}
    for name, shape in shapes.items():
        value = random.normal(0, 0.2, shape)
        value += 1.0 * name.endswith(NEAR_ONE)
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return weights


def sound() -> np.ndarray:
    """One second of noise at 16 kHz, quiet, so that scaling it matters."""
    return np.random.default_rng(1).normal(0.002, 0.01, 16_000).astype(np.float32)
