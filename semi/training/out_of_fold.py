"""What gold says of models out-of-fold: each row is asked of the chain that never saw it.

Letters: n gold rows, C classes, G chains, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .dataset import Dataset
from .ensemble import Ensemble
from .teacher import chain_logits


def surprise_at(log_probs: Tensor, gold: Tensor) -> Tensor:
    """Returns the log-loss (n,) of rows (n, C), at the temperature that suits all of them best.

    So a few rows that a model is far too sure of do not hide what it knows. At the highest
    temperature it knows the class shares and nothing more.

    Args:
        log_probs: (n, C).
        gold: (n, C) true class shares of each row.
    """
    share = log_shares(gold)
    heat = torch.logspace(-1, 0, 21, device=gold.device)[:, None, None]  # 1 / T; 0 = class shares
    by_class = log_probs.T.contiguous()  # (C, n): few classes that lie last are slow to sum
    mixed = (heat * by_class + (1 - heat) * share[:, None]).log_softmax(1)  # (21, C, n)
    each = -(gold.T * mixed).sum(1)  # (21, n)
    return each[each.mean(1).argmin()]


def log_shares(gold: Tensor) -> Tensor:
    """Returns the log of the class shares (C,) of rows (n, C)."""
    return gold.mean(0).clamp(min=1e-6).log()


def losses_out_of_fold(dataset: Dataset, ensemble: Ensemble) -> Tensor:
    """Returns `surprise_at` (n,) of the fused head on all gold rows."""
    rows, chains = dataset.gold, dataset.folds + 1
    values = {m: v[rows] for m, v in dataset.values.items()}
    logits = chain_logits(ensemble, values, dataset.present[rows], chains)[:, 0]  # (G, n, C)
    own = logits[dataset.fold, torch.arange(len(rows), device=rows.device)]
    return surprise_at(own.clamp(min=-14), dataset.target[rows])
