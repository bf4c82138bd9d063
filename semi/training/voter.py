"""Raw log-probabilities of heads into one calibrated vote: fitted on gold, kept with a model.

Letters: H heads (fused first), n gold rows, R rows, M modalities, C classes.

A task of several labels a row (`multi`) has the log odds of each class where others have
log-probabilities, and is calibrated and voted as R x C yes-no questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudo_label.calibration import Calibration, fit_calibration
from pseudo_label.voting import fit_weights, informed_weights, soft_vote

from ..config.training import VoteConfig
from ..shapes import misfit

VOTER_SHAPE = {
    "heads": [str], "weights": [float], "multi?": bool, "quiet?": [str],
    "calibrations": {str: {"method": str, "temperature": float}},
}  # fmt: skip

FUSED = "fused"


@dataclass
class Voter:
    """Turns raw head log-probabilities into one calibrated probability; fitted on gold only."""

    heads: list[str]  # "fused", then the modalities if several
    calibrations: dict[str, Calibration]
    weights: Tensor  # (H,) on the simplex
    multi: bool = False  # several labels a row: every class by itself
    quiet: list[str] = field(default_factory=list)  # heads that vote where no other modality is

    def by_head(self, logits: Tensor) -> Tensor:
        """Returns calibrated probabilities (H, R, C) of raw log-probabilities (H, R, C)."""
        if self.multi:
            pairs = yes_no(logits)  # (H, R C, 2)
            parts = [self.calibrations[h].apply(pairs[i]) for i, h in enumerate(self.heads)]
            return torch.stack(parts)[..., 1].reshape(logits.shape)
        parts = [self.calibrations[h].apply(logits[i]) for i, h in enumerate(self.heads)]
        return torch.stack(parts)

    def vote(self, probs: Tensor, present: Tensor) -> Tensor:
        """Returns (R, C): the weighted mean over the heads whose modality is present."""
        here = can_speak(self.heads, present, self.quiet)
        if self.multi:
            pairs = torch.stack([1 - probs, probs], -1).flatten(1, 2)  # (H, R C, 2)
            voted = soft_vote(pairs, self.weights, here.repeat_interleave(probs.shape[2], 0))
            return voted[:, 1].reshape(probs.shape[1:])
        return soft_vote(probs, self.weights, here)

    def probabilities(self, logits: Tensor, present: Tensor) -> Tensor:
        """Returns (R, C), calibrated and voted, of raw log-probabilities (H, R, C)."""
        return self.vote(self.by_head(logits), present)

    def state_dict(self) -> dict:
        """Returns the JSON-able state."""
        return {
            **({"multi": True} if self.multi else {}),
            **({"quiet": self.quiet} if self.quiet else {}),
            "heads": self.heads,
            "weights": self.weights.tolist(),
            "calibrations": {h: c.state_dict() for h, c in self.calibrations.items()},
        }

    def check(self, classes: int) -> None:
        """Raises ValueError unless every head can be calibrated for so many classes."""
        width = 2 if self.multi else classes
        for head in self.heads:
            tried = self.calibrations[head].apply(torch.zeros(1, width))
            if tried.shape != (1, width) or not bool(tried.isfinite().all()):
                raise ValueError(f"the calibration of {head} is not one of {width} classes")

    @classmethod
    def from_state(cls, state: dict) -> Voter:
        """Returns the voter that `state_dict` described; ValueError where it is none."""
        wrong = misfit(state, VOTER_SHAPE)
        if not wrong and not 0 < len(state["heads"]) == len(set(state["heads"])) == len(
            state["weights"]
        ):
            wrong = "has not one weight for each head"
        if not wrong and (silent := set(state["heads"]) - state["calibrations"].keys()):
            wrong = f"has no calibration of {', '.join(sorted(silent))}"
        if not wrong and not (min(state["weights"]) >= 0 and abs(sum(state["weights"]) - 1) < 1e-3):
            wrong = "has weights that are no shares"
        if wrong:
            raise ValueError(wrong)
        return cls(
            state["heads"],
            {h: Calibration.from_state(c) for h, c in state["calibrations"].items()},
            torch.tensor(state["weights"]),
            state.get("multi", False),
            [str(name) for name in state.get("quiet", [])],
        )


def can_speak(heads: list[str], present: Tensor, quiet: list[str] | None = None) -> Tensor:
    """Returns (R, H) bool: which heads have a say on rows where `present` (R, M) modalities are.

    Those of `quiet` have none beside a modality that is not quiet.
    """
    here = torch.cat([present.any(1, keepdim=True), present], 1)[:, : len(heads)]
    if not quiet or len(heads) < 2:
        return here
    loud = torch.tensor([name not in quiet for name in heads[1:]], device=here.device)
    heard = loud | ~(present & loud).any(1, keepdim=True)  # (R, M)
    return torch.cat([here[:, :1], here[:, 1:] & heard], 1)


def yes_no(log_odds: Tensor) -> Tensor:
    """Returns (H, R C, 2) log-probabilities of no and yes, from log odds (H, R, C)."""
    return torch.stack([F.logsigmoid(-log_odds), F.logsigmoid(log_odds)], -1).flatten(1, 2)


def mean_odds(log_odds: Tensor, dim: int) -> Tensor:
    """Returns the log odds of the mean probability along `dim`."""
    return F.logsigmoid(log_odds).logsumexp(dim) - F.logsigmoid(-log_odds).logsumexp(dim)


def fit_voter(
    heads: list[str], logits: Tensor, label: Tensor, present: Tensor, config: VoteConfig,
    quiet: list[str] | None = None,
) -> Voter:  # fmt: skip
    """Returns the voter fitted on out-of-fold gold logits (H, n, C) and labels (n,).

    Labels (n, C) of 0 and 1 make it a voter for several labels a row.
    """
    multi, device = label.dim() == 2, logits.device
    logits, label, present = logits.cpu(), label.cpu(), present.cpu()  # few rows: the host fits
    if multi:
        logits, present = yes_no(logits), present.repeat_interleave(label.shape[1], 0)
        label = label.flatten()
    calibrations, here = {}, can_speak(heads, present)
    here[:, 0] = True  # the fused head always speaks
    for i, head in enumerate(heads):
        seen = here[:, i]
        calibrations[head] = fit_calibration(logits[i][seen], label[seen], config.calibration)
    voter = Voter(heads, calibrations, torch.full((len(heads),), 1 / len(heads)))
    voter.quiet = list(quiet or [])
    here = can_speak(heads, present, voter.quiet)
    here[:, 0] = True
    voter.weights = _weights(voter, voter.by_head(logits), label, here, config).to(device)
    voter.multi = multi
    return voter


def _weights(voter, probs, label, here, config: VoteConfig) -> Tensor:
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
    base = informed_weights(probs, label, here)
    return torch.tensor(fit_weights(probs, label, present=here, toward=base).weights)
