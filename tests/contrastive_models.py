"""Contrastive fusion models and data whose modalities share what they say, for their tests."""

import torch

from models.fusion import (
    FusionConfig,
    build_fusion,
)
from noise import Corruption, NoiseConfig

DIMS = {"speech": 20, "text": 14, "video": 17}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model_of(many, **change):
    torch.manual_seed(0)
    dims = dict(list(DIMS.items())[:many])
    return build_fusion(FusionConfig(hidden=32, projection=16, **change), dims, 4)


def talk(rows, many, seed=0):
    """Views of one shared 8-d latent per row, as standardised features."""
    latent = torch.randn(rows, 8, generator=seeded(seed))
    return {
        name: latent @ torch.randn(8, d, generator=seeded(100 + i)) / 8**0.5
        + 0.1 * torch.randn(rows, d, generator=seeded(seed + i + 1))
        for i, (name, d) in enumerate(list(DIMS.items())[:many])
    }


def views(model, inputs, present, generator):
    corrupt = Corruption(NoiseConfig())
    noisy = {k: corrupt(v, generator) for k, v in inputs.items()}
    return model(inputs, present), model(noisy, present)


def all_present(inputs):
    rows = next(iter(inputs.values())).shape[0]
    return torch.ones(rows, len(inputs), dtype=torch.bool)


def expected_names(many):
    names = list(DIMS)[:many]
    pairs = {f"modality/{a}-{b}" for i, a in enumerate(names) for b in names[i + 1 :]}
    rest = {f"rest/{a}" for a in names} if many > 1 else set()
    return pairs | rest | {f"noise/{a}" for a in names}
