"""What the models of a round say: out-of-fold on gold, per chain on the pool; calibrated, voted.

Letters: G chains (last one holds nothing out), H heads (fused first), n gold rows, P pool rows,
R rows, C classes. Chain k never saw the gold rows of fold k, so neither do its pseudo-labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pseudo_label.calibration import Calibration, fit_calibration
from pseudo_label.voting import fit_weights, soft_vote

from .ensemble import Ensemble
from .problem import Problem
from .training_config import VoteConfig

FUSED = "fused"


@dataclass
class Voter:
    """Turns raw head log-probabilities into one calibrated probability; fitted on gold only."""

    heads: list[str]  # "fused", then the modalities
    calibrations: dict[str, Calibration]
    weights: Tensor  # (H,) on the simplex

    def by_head(self, logits: Tensor) -> Tensor:
        """Returns calibrated probabilities (H, R, C) of raw log-probabilities (H, R, C)."""
        parts = [self.calibrations[h].apply(logits[i]) for i, h in enumerate(self.heads)]
        return torch.stack(parts)

    def vote(self, probs: Tensor, present: Tensor) -> Tensor:
        """Returns (R, C): the weighted mean over the heads whose modality is present."""
        here = torch.cat([present.any(1, keepdim=True), present], 1)[:, : len(self.heads)]
        return soft_vote(probs, self.weights, here)

    def state_dict(self) -> dict:
        """Returns the JSON-able state."""
        return {
            "heads": self.heads,
            "weights": [float(w) for w in self.weights],
            "calibrations": {h: c.state_dict() for h, c in self.calibrations.items()},
        }

    @classmethod
    def from_state(cls, state: dict) -> Voter:
        """Returns the voter that `state_dict` described."""
        return cls(
            state["heads"],
            {h: Calibration.from_state(c) for h, c in state["calibrations"].items()},
            torch.tensor(state["weights"]),
        )


@torch.no_grad()
def chain_logits(
    ensemble: Ensemble, values: dict[str, Tensor], present: Tensor, chains: int
) -> Tensor:
    """Returns (G, H, R, C) log of the mean member probability of each chain and head."""
    parts = []
    for start in range(0, max(len(present), 1), 8192):
        rows = slice(start, start + 8192)
        out = ensemble.predict_logits({m: v[rows] for m, v in values.items()}, present[rows])
        heads = []
        for logits in out.heads().values():
            member = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            member = member.unflatten(0, (chains, ensemble.count // chains))  # (G, E/G, r, C)
            heads.append(member.logsumexp(1) - torch.tensor(float(member.shape[1])).log())
        parts.append(torch.stack(heads, 1))
    return torch.cat(parts, 2)


@dataclass
class Teaching:
    """The teacher's word after one round."""

    voter: Voter
    oof_logits: Tensor  # (H, n, C) raw, each gold row from the chain that held it out
    oof_heads: Tensor  # (H, n, C) calibrated
    oof: Tensor  # (n, C) calibrated and voted
    pool_logits: Tensor  # (G, H, P, C) raw


def fit_voter(
    heads: list[str], logits: Tensor, label: Tensor, present: Tensor, config: VoteConfig
) -> Voter:
    """Returns the voter fitted on out-of-fold gold logits (H, n, C) and labels (n,)."""
    calibrations = {}
    for i, head in enumerate(heads):
        seen = present[:, i - 1] if i else torch.ones_like(label, dtype=torch.bool)
        calibrations[head] = fit_calibration(logits[i][seen], label[seen], config.calibration)
    voter = Voter(heads, calibrations, torch.full((len(heads),), 1 / len(heads)))
    voter.weights = _weights(voter, voter.by_head(logits), label, present, config)
    return voter


def _weights(voter, probs, label, present, config: VoteConfig) -> Tensor:
    heads = voter.heads
    if config.method == "fused" or len(heads) == 1:
        return torch.tensor([1.0] + [0.0] * (len(heads) - 1))
    if config.method == "uniform":
        return torch.full((len(heads),), 1 / len(heads))
    if config.method == "fixed":
        unknown = sorted(set(config.weights) - set(heads))
        if unknown:
            raise ValueError(
                f"vote.weights names {', '.join(unknown)}, but the heads are {', '.join(heads)}"
            )
        given = torch.tensor([float(config.weights.get(h, 0.0)) for h in heads])
        if not (given >= 0).all() or given.sum() <= 0:
            raise ValueError(f"vote.weights must be >= 0 and not all 0, got {config.weights}")
        return given / given.sum()
    here = torch.cat([torch.ones_like(present[:, :1]), present], 1)
    return torch.tensor(fit_weights(probs, label, present=here).weights)


def teach(problem: Problem, ensemble: Ensemble, config: VoteConfig) -> Teaching:
    """Returns what the ensemble of all chains says about gold (out-of-fold) and pool."""
    chains = problem.folds + 1
    heads = [FUSED, *problem.dims] if len(problem.dims) > 1 else [FUSED]
    gold, pool = problem.gold, problem.pool

    def ask(rows: Tensor) -> Tensor:
        values = {m: v[rows] for m, v in problem.values.items()}
        return chain_logits(ensemble, values, problem.present[rows], chains)[:, : len(heads)]

    on_gold = ask(gold)  # (G, H, n, C)
    pick = problem.fold.view(1, 1, -1, 1).expand(1, *on_gold.shape[1:])
    oof = on_gold.gather(0, pick)[0]  # (H, n, C)
    voter = fit_voter(heads, oof, problem.label[gold], problem.present[gold], config)
    return read_teaching(problem, voter, oof, ask(pool))


def read_teaching(
    problem: Problem, voter: Voter, oof_logits: Tensor, pool_logits: Tensor
) -> Teaching:
    """Returns the teaching that follows from a voter and raw logits, new or read back."""
    by_head = voter.by_head(oof_logits)
    voted = voter.vote(by_head, problem.present[problem.gold])
    return Teaching(voter, oof_logits, by_head, voted, pool_logits)


@dataclass
class Answer:
    """What a finished model says about R rows."""

    probs: Tensor  # (R, C) calibrated and voted
    by_head: Tensor  # (H, R, C) calibrated, heads in the voter's order


def answer(
    ensemble: Ensemble, voter: Voter, values: dict[str, Tensor], present: Tensor, chains: int
) -> Answer:
    """Returns the prediction of all chains together: a row's answer depends on that row alone."""
    logits = chain_logits(ensemble, values, present, chains)[:, : len(voter.heads)]
    mean = logits.logsumexp(0) - torch.tensor(float(chains)).log()  # (H, R, C)
    by_head = voter.by_head(mean)
    return Answer(voter.vote(by_head, present), by_head)
