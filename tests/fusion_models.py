"""Small fusion models and batches with missing modalities, for the tests of all of them."""

import pytest
import torch

from models.fusion import FusionConfig, build_fusion
from models.fusion.config import KINDS

DIMS = {"speech": 10, "text": 7, "speech.3": 5}
C = 4
every_kind = pytest.mark.parametrize("kind", KINDS)
every_size = pytest.mark.parametrize("many", [1, 2, 3])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(kind, many=3, **change):
    torch.manual_seed(0)
    dims = dict(list(DIMS.items())[:many])
    config = FusionConfig(kind=kind, hidden=16, projection=8, layers=2, heads=2, **change)
    return build_fusion(config, dims, C)


def batch(many=3, rows=9, seed=0):
    dims = list(DIMS.items())[:many]
    inputs = {k: torch.randn(rows, d, generator=seeded(seed + i)) for i, (k, d) in enumerate(dims)}
    present = torch.rand(rows, many, generator=seeded(seed + 9)) > 0.4
    present[0] = False  # one row with nothing at all
    present[1] = True
    return inputs, present


def close(a, b):
    for name, value in a.tensors().items():
        torch.testing.assert_close(value, b.tensors()[name], atol=1e-5, rtol=1e-5, msg=name)
