"""The default model: late fusion whose embeddings are also trained by contrast (MR-CCL, corrected).

Three groups of pairs, each with its own learned temperature (https://arxiv.org/abs/2409.04447):
modality with modality, modality with the rest, clean with noisy. VMAP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..heads import PerModality, Wide
from ..losses.contrastive import clip_loss, nt_xent
from ..losses.reduce import unit
from .base import Concat
from .config import ContrastConfig
from .diagnostics import retrieval
from .output import FusionOutput

GROUPS = ("modality", "rest", "noise")
_HALF = math.log(100) / 2  # log scales live in (0, ln 100): temperatures between 0.01 and 1


class Contrastive(Concat):
    """Concatenation for the classes; projected embeddings for the contrastive terms."""

    contrasts = True

    def build(self) -> None:
        """Makes the shared projector, the projectors against the rest, and the temperatures."""
        super().build()
        hidden, width, many = self.config.hidden, self.config.projection, len(self.names)
        self.project = nn.Sequential(  # one for all modalities: what they share
            Wide(hidden, hidden), nn.GELU(), Wide(hidden, width)
        )
        self.project_rest = PerModality(many, hidden, max(many - 1, 1) * width)
        self.project_fused = Wide(self.fused_width, width)
        self.log_scale = nn.Parameter(torch.zeros(len(GROUPS)))

    def finish(self, h: Tensor, present: Tensor) -> FusionOutput:
        """Returns scores, vectors, and the projections that `contrastive_terms` compares."""
        output = super().finish(h, present)
        output.projections = {
            "shared": self.project(h).transpose(0, 1),  # (B, M, P)
            "rest": self.project_rest(h).transpose(0, 1),  # (B, M, (M - 1) P)
            "fused": self.project_fused(output.fused),  # (B, P)
            "log_scale": self.log_scale,  # (3,)
        }
        return output


@dataclass
class Pairs:
    """Pairs of one group; row i of `a` belongs to row i of `b`."""

    group: str  # one of GROUPS
    names: list[str]  # G names such as "speech-text"
    a: Tensor  # (G, B, P)
    b: Tensor  # (G, B, P)
    a_there: Tensor  # (G, B) bool
    b_there: Tensor  # (G, B) bool


def contrastive_terms(
    model: nn.Module | None,
    clean: FusionOutput,
    noisy: FusionOutput | None,
    present: Tensor,
    same: Tensor | None = None,
    row_weight: Tensor | None = None,
    config: ContrastConfig | None = None,
    partner: Tensor | None = None,
) -> dict[str, Tensor]:
    """Returns the loss of every pair that is switched on, by name such as "modality/speech-text".

    Args:
        model: the model that made the outputs; not read, so that the call is safe anywhere
            inside `functional_call` and `vmap`.
        clean: output of the clean inputs; of a kind without projections there are no terms.
        noisy: output of the noisy inputs of the same rows; None leaves out what needs it.
        present: (B, M) modalities present in both views; other rows leave the pair's loss.
        same: (B, B) bool, pairs trusted to share a class: no negatives.
        row_weight: (B,) weight of each row, 0 = absent.
        config: switches and temperature.
        partner: (B,) permutation of rows that replaces the true partners, for the control.
    """
    config = config or ContrastConfig()
    same = same if config.drop_same_class else None
    terms: dict[str, Tensor] = {}
    for pairs in _pairs(clean, noisy, present, config):
        scale = log_scales(clean, config)[GROUPS.index(pairs.group)]
        b, b_there = pairs.b, pairs.b_there
        if partner is not None:
            b, b_there = b[:, partner], b_there[:, partner]
        ok = pairs.a_there & b_there
        if pairs.group == "noise":  # rows of the same modality are negatives too
            tau = (-scale).exp()
            loss = nt_xent(pairs.a, b, tau, valid=ok, weight=row_weight, same=same)
        else:
            loss = clip_loss(pairs.a, b, scale, valid=ok, weight=row_weight, same=same)
        terms |= {f"{pairs.group}/{name}": loss[k] for k, name in enumerate(pairs.names)}
    return terms


def group_means(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the mean loss of each group of pairs; their sum is the contrastive loss."""
    groups: dict[str, list[Tensor]] = {}
    for name, value in terms.items():
        groups.setdefault(name.split("/")[0], []).append(value)
    return {name: torch.stack(values).mean(0) for name, values in groups.items()}


@torch.no_grad()
def permutation_control(
    model: nn.Module | None,
    clean: FusionOutput,
    noisy: FusionOutput | None,
    present: Tensor,
    config: ContrastConfig | None = None,
) -> dict[str, Tensor]:
    """Returns, per pair, loss on wrong partners minus loss on true ones: > 0 once learned.

    A loss that ignores its partners, as the published MR-CCL code does, gives 0.
    """
    wrong = torch.arange(present.shape[0], device=present.device).roll(1)
    true = contrastive_terms(model, clean, noisy, present, config=config)
    other = contrastive_terms(model, clean, noisy, present, config=config, partner=wrong)
    return {name: other[name] - true[name] for name in true}


@torch.no_grad()
def retrieval_at_1(
    model: nn.Module | None,
    clean: FusionOutput,
    noisy: FusionOutput | None,
    present: Tensor,
    config: ContrastConfig | None = None,
) -> dict[str, Tensor]:
    """Returns, per pair, the share of rows whose nearest row in the other view is their partner.

    Mean of both directions over the n rows that have both views; chance is 1 / n.
    """
    out: dict[str, Tensor] = {}
    for pairs in _pairs(clean, noisy, present, config or ContrastConfig()):
        hit = retrieval(pairs.a, pairs.b, pairs.a_there & pairs.b_there)
        out |= {f"{pairs.group}/{name}": hit[k] for k, name in enumerate(pairs.names)}
    return out


def log_scales(output: FusionOutput, config: ContrastConfig) -> Tensor:
    """Returns the log scale (3,) of each group, strictly inside (0, ln 100) whatever was learned.

    A tanh and not a clamp: at a clamp the gradient is zero and the scale could never come back.
    """
    learned = output.projections["log_scale"]
    if not config.learn_tau:
        learned = torch.zeros_like(learned)
    start = math.atanh((math.log(1 / config.tau) - _HALF) / _HALF)
    return _HALF + _HALF * torch.tanh(learned + start)


def _pairs(
    clean: FusionOutput, noisy: FusionOutput | None, present: Tensor, config: ContrastConfig
) -> list[Pairs]:
    if not clean.projections:
        return []
    names, many = list(clean.embeddings), present.shape[-1]
    z = clean.projections["shared"].transpose(0, 1)  # (M, B, P)
    there = present.transpose(0, 1)  # (M, B)
    groups: list[Pairs] = []
    if config.modality and many > 1:
        ij = [(i, j) for i in range(many) for j in range(i + 1, many)]
        left, right = [i for i, _ in ij], [j for _, j in ij]
        called = [f"{names[i]}-{names[j]}" for i, j in ij]
        a, b = _take(z, left), _take(z, right)
        groups.append(Pairs("modality", called, a, b, _take(there, left), _take(there, right)))
    rest = config.rest and "rest" in clean.projections
    if rest and many > 2:
        b, b_there = _rest(z, there)
        own = clean.projections["rest"].transpose(0, 1)  # (M, B, (M - 1) P)
        groups.append(Pairs("rest", names, own, b, there, b_there))
    if rest and many == 2 and noisy is not None:
        own = clean.projections["rest"].transpose(0, 1)  # (2, B, P)
        b = _noisy_fused(noisy).expand(own.shape)
        # with one modality missing, the fused vector holds nothing but the other one itself
        groups.append(Pairs("rest", names, own, b, there, there.all(0).expand(there.shape)))
    if config.noise and noisy is not None:
        z_noisy = noisy.projections["shared"].transpose(0, 1)
        groups.append(Pairs("noise", names, z, z_noisy, there, there))
    return groups


def _take(x: Tensor, rows: list[int]) -> Tensor:
    # not x[rows]: that copies a list to the device at every call
    return torch.stack([x[i] for i in rows])


def _rest(z: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """The other modalities' projections side by side (M, B, (M - 1) P), and if any is there."""
    parts = torch.where(there[..., None], unit(z), 0.0)
    others = [[k for k in range(z.shape[0]) if k != m] for m in range(z.shape[0])]
    side = torch.stack([torch.cat([parts[k] for k in ks], -1) for ks in others])
    return side, torch.stack([_take(there, ks).any(0) for ks in others])


def _noisy_fused(noisy: FusionOutput) -> Tensor:
    """What stands for the rest where there are two modalities: the noisy view's fused vector.

    The clean one would contain the modality itself. Half the gradient flows into it, the mean of
    a stop-gradient at every second step.
    """
    fused = noisy.projections["fused"]
    return 0.5 * fused + 0.5 * fused.detach()
