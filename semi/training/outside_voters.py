"""Outside voters in the rounds: their probabilities, calibrated on the gold of each chain.

What a language model gives as probabilities is no measure of how right it is: it is surer than it
should be, and has labels that it likes. Gold rows are voted on too, so each voter is calibrated as
the model's own heads are: by temperature, and by a scale and shift a class (which moves labels,
too) where gold has 40 rows of each. No chain's calibration sees the gold that the chain holds out.

Letters: G chains (the last one holds nothing out), V voters, N utterances, P pool rows, n gold
rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pseudo_label.calibration import VECTOR_ROWS, Calibration, fit_calibration

LEAST_SHARE = 1e-6  # a probability of nothing has no logarithm


@dataclass
class OutsideVoters:
    """What voters from anywhere else say, as each chain may use it."""

    votes: Tensor  # (V, N, C) probabilities as they came, NaN where a voter was not asked
    calibrations: list[list[Calibration]]  # of each chain and voter
    gold: Tensor  # (G, V, n, C) calibrated without the row's own fold and the chain's

    def of(self, rows: Tensor, chain: int) -> Tensor:
        """Returns (V, len(rows), C) calibrated probabilities of some rows for a chain."""
        votes = self.votes[:, rows]
        pairs = zip(votes, self.calibrations[chain], strict=True)
        return torch.stack([calibrated_votes(vote, fitted) for vote, fitted in pairs])


def calibrated_votes(votes: Tensor, fitted: Calibration) -> Tensor:
    """Returns the votes (R, C) at a calibration; NaN rows stay."""
    return fitted.apply(votes.clamp(min=LEAST_SHARE).log())


def fit_outside_voters(votes: Tensor, gold: Tensor, label: Tensor, fold: Tensor) -> OutsideVoters:
    """Returns the voters with a calibration for every chain.

    Args:
        votes: (V, N, C) probabilities, NaN where a voter has none.
        gold: (n,) rows whose labels may be learned from.
        label: (n,) their classes.
        fold: (n,) their out-of-fold parts.
    """
    heard, y, part = votes[:, gold].cpu(), label.cpu(), fold.cpu()  # few rows: the host fits
    folds = int(part.max()) + 1
    known: dict[tuple[int, frozenset[int]], Calibration] = {}

    def fitted(voter: int, without: frozenset[int]) -> Calibration:
        """Returns the calibration of a voter on the gold rows of all folds but some."""
        if (voter, without) not in known:
            rows = ~heard[voter].isnan().any(1)
            for k in without:
                rows = rows & (part != k)
            known[voter, without] = _fit(heard[voter][rows], y[rows])
        return known[voter, without]

    everyone = range(len(votes))
    calibrations = [[fitted(v, frozenset({k} & set(range(folds)))) for v in everyone]
                    for k in range(folds + 1)]  # fmt: skip
    own = heard.new_full((folds + 1, *heard.shape), float("nan"))
    for chain in range(folds + 1):
        for k in range(folds):
            without = frozenset({k, chain} & set(range(folds)))
            rows = part == k
            for v in everyone:
                own[chain, v, rows] = calibrated_votes(heard[v][rows], fitted(v, without))
    return OutsideVoters(votes, calibrations, own.to(votes.device))


def _fit(votes: Tensor, label: Tensor) -> Calibration:
    """Returns the calibration that so many gold rows carry."""
    smallest = int(torch.bincount(label, minlength=votes.shape[1]).min()) if len(label) else 0
    method = "vector" if smallest >= VECTOR_ROWS else "temperature"
    return fit_calibration(votes.clamp(min=LEAST_SHARE).log(), label, method)
