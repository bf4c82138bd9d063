"""Is the contrast learning anything? Asked of rows no loss has seen, at every logged step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from models.fusion import ContrastConfig, permutation_control, retrieval_at_1
from models.fusion.diagnostics import effective_rank, uniformity
from noise import Corruption, NoiseConfig

from ..features.tensors import Vectors
from .batches import noisy_view
from .ensemble import Ensemble
from .fit import Probe

SAMPLED_ROWS = 256


def contrast_probe(
    ensemble: Ensemble,
    values: Mapping[str, Vectors],
    present: Tensor,
    rows: Tensor,
    noise: NoiseConfig,
    contrast: ContrastConfig,
    *,
    seed: int,
) -> Probe | None:
    """Returns a function of the stacked parameters that measures the first member on `rows`.

    probe/retrieval_at_1/<pair>: share of held-out rows that find their partner among at most 256;
    probe/permutation/<pair>: loss on wrong partners minus loss on true ones, > 0 once learned;
    probe/uniformity/<modality> and probe/effective_rank/<modality>: signs of collapse.
    None where nothing is contrasted or there are too few rows.
    """
    if not contrast.any or len(rows) < 8:
        return None
    generator = torch.Generator(device=rows.device).manual_seed(seed)
    some = torch.randperm(len(rows), generator=generator, device=rows.device)[:SAMPLED_ROWS]
    rows = rows[some]
    clean = {m: v[rows] for m, v in values.items()}
    corrupt = Corruption(noise, device=rows.device)
    noisy = {m: noisy_view(v, corrupt, generator) for m, v in clean.items()}
    here = present[rows]

    @torch.no_grad()
    def probe(params: dict[str, Tensor]) -> dict[str, float]:
        template = ensemble.template
        was, first = template.training, {k: v[0] for k, v in params.items()}
        first |= {k: v[0] for k, v in ensemble.buffers.items()}
        template.eval()
        a = functional_call(template, first, (clean, here))
        b = functional_call(template, first, (noisy, here))
        template.train(was)
        found = {
            f"probe/retrieval_at_1/{name}": float(value)
            for name, value in retrieval_at_1(None, a, b, here, config=contrast).items()
        }
        for i, name in enumerate(a.embeddings):
            h = a.embeddings[name]
            found[f"probe/uniformity/{name}"] = float(uniformity(h, valid=here[:, i]))
            found[f"probe/effective_rank/{name}"] = float(effective_rank(h, valid=here[:, i]))
        for name, value in permutation_control(None, a, b, here, config=contrast).items():
            found[f"probe/permutation/{name}"] = float(value)
        return found

    return probe
