"""What several models that were compared say of the pool together, weighed by what gold knows.

Where gold rows are few, which of several models is best is luck, and each starts its rounds from
errors of its own. The first round of the one that stays learns the labels of all.

Letters: G chains, r pool rows asked, P pool rows, n gold rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHARPNESS = 0.5
"""Power of the likelihood of gold by which models weigh: 1 would trust them as independent."""


@dataclass
class Committee:
    """Probabilities of some pool rows, chain by chain: chain k of all saw nothing of fold k."""

    rows: Tensor  # (r,) int64 rows of the dataset
    probs: Tensor  # (G, r, C)

    def over(self, probs: Tensor, rows: Tensor, chain: int) -> Tensor:
        """Returns probs (P, C) of dataset rows (P,), those that were asked as the committee says.

        Rows that were not asked (comparing reads some thousand of a large pool) stay as they are.
        """
        order = self.rows.argsort()
        place = torch.searchsorted(self.rows[order], rows).clamp(max=len(order) - 1)
        at = order[place]
        known = self.rows[at] == rows
        return torch.where(known[:, None], self.probs[chain, at].to(probs), probs)

    def at(self, place: Tensor) -> Committee:
        """Returns what is said of rows that keep a place (N,) in another dataset; -1 = none."""
        kept = place[self.rows] >= 0
        return Committee(place[self.rows][kept], self.probs[:, kept])


def committee_of(rows: Tensor, answers: list[Tensor], losses: list[Tensor]) -> Committee:
    """Returns the mean of answers (G, r, C), weighed by exp(-SHARPNESS x total log-loss on gold).

    Args:
        rows: (r,) rows of the dataset that were asked.
        answers: of each model.
        losses: (n,) log-loss of each gold row out-of-fold, of each model.
    """
    total = torch.stack([loss.double().sum() for loss in losses])
    weight = (-SHARPNESS * total).softmax(0).to(answers[0])
    together = sum(w * answer for w, answer in zip(weight, answers, strict=True))
    assert isinstance(together, Tensor)
    return Committee(rows, together)
