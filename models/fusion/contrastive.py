"""The default model: late fusion whose embeddings are also trained by contrast (MR-CCL, corrected).

Three groups of pairs, each with its own learned temperature (https://arxiv.org/abs/2409.04447):
modality with modality, modality with the rest, clean with noisy. VMAP; stacked projections, whose
leading dimensions (members) are written (...), are compared without it.
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
    a: Tensor  # (..., G, B, P)
    b: Tensor  # (..., G, B, P)
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
    groups = _pairs_of(clean, noisy, present, config)
    if not groups:
        return {}
    learned = clean.projections["log_scale"]
    return paired_terms(groups, learned, config, same, row_weight, partner)


def paired_terms(
    groups: list[Pairs],
    learned: Tensor,
    config: ContrastConfig,
    same: Tensor | None = None,
    row_weight: Tensor | None = None,
    partner: Tensor | None = None,
) -> dict[str, Tensor]:
    """Returns the loss (...) of every pair by name; of stacked members all at once, without vmap.

    Args:
        groups: the pairs; see `pairs_of`.
        learned: (..., 3) the model's `log_scale`.
        config: switches and temperature.
        same: (..., B, B); see `contrastive_terms`, as for what follows.
        row_weight: (B,).
        partner: (B,).
    """
    same = same[..., None, :, :] if same is not None and config.drop_same_class else None
    terms: dict[str, Tensor] = {}
    for pairs in groups:
        scale = _scales(learned, config)[..., GROUPS.index(pairs.group), None]
        b, b_there = pairs.b, pairs.b_there
        if partner is not None:
            b, b_there = b[..., partner, :], b_there[:, partner]
        ok = pairs.a_there & b_there
        if pairs.group == "noise":  # rows of the same modality are negatives too
            tau = (-scale).exp()
            loss = nt_xent(pairs.a, b, tau, valid=ok, weight=row_weight, same=same)
        else:
            loss = clip_loss(pairs.a, b, scale, valid=ok, weight=row_weight, same=same)
        terms |= {f"{pairs.group}/{name}": loss[..., k] for k, name in enumerate(pairs.names)}
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
    for pairs in _pairs_of(clean, noisy, present, config or ContrastConfig()):
        hit = retrieval(pairs.a, pairs.b, pairs.a_there & pairs.b_there)
        out |= {f"{pairs.group}/{name}": hit[k] for k, name in enumerate(pairs.names)}
    return out


def log_scales(output: FusionOutput, config: ContrastConfig) -> Tensor:
    """Returns the log scale (3,) of each group, strictly inside (0, ln 100) whatever was learned.

    A tanh and not a clamp: at a clamp the gradient is zero and the scale could never come back.
    """
    return _scales(output.projections["log_scale"], config)


def _scales(learned: Tensor, config: ContrastConfig) -> Tensor:
    if not config.learn_tau:
        learned = torch.zeros_like(learned)
    start = math.atanh((math.log(1 / config.tau) - _HALF) / _HALF)
    return _HALF + _HALF * torch.tanh(learned + start)


def _pairs_of(
    clean: FusionOutput, noisy: FusionOutput | None, present: Tensor, config: ContrastConfig
) -> list[Pairs]:
    if not clean.projections:
        return []
    other = noisy and noisy.projections
    return pairs_of(list(clean.embeddings), clean.projections, other, present, config)


def pairs_of(
    names: list[str], clean: dict[str, Tensor], noisy: dict[str, Tensor] | None,
    present: Tensor, config: ContrastConfig,
) -> list[Pairs]:  # fmt: skip
    """Returns what is compared.

    Args:
        names: the modalities.
        clean: projections of the clean rows: shared (..., B, M, P) and, of some kinds, the others.
        noisy: those of the same rows' noisy views; None leaves out what needs them.
        present: (B, M) modalities present in both views.
        config: switches.
    """
    many = len(names)
    z = clean["shared"].transpose(-3, -2)  # (..., M, B, P)
    there = present.transpose(0, 1)  # (M, B)
    groups: list[Pairs] = []
    if config.modality and many > 1:
        ij = [(i, j) for i in range(many) for j in range(i + 1, many)]
        left, right = [i for i, _ in ij], [j for _, j in ij]
        called = [f"{names[i]}-{names[j]}" for i, j in ij]
        (a, a_there), (b, b_there) = (
            (_take(z, side, -3), _take(there, side, 0)) for side in (left, right)
        )
        groups.append(Pairs("modality", called, a, b, a_there, b_there))
    rest = config.rest and "rest" in clean
    if rest and many > 2:
        b, b_there = _rest(z, there)
        own = clean["rest"].transpose(-3, -2)  # (..., M, B, (M - 1) P)
        groups.append(Pairs("rest", names, own, b, there, b_there))
    if rest and many == 2 and noisy is not None:
        own = clean["rest"].transpose(-3, -2)  # (..., 2, B, P)
        b = _noisy_fused(noisy["fused"])[..., None, :, :].expand(own.shape)
        # with one modality missing, the fused vector holds nothing but the other one itself
        groups.append(Pairs("rest", names, own, b, there, there.all(0).expand(there.shape)))
    if config.noise and noisy is not None:
        groups.append(Pairs("noise", names, z, noisy["shared"].transpose(-3, -2), there, there))
    return groups


def _take(x: Tensor, rows: list[int], dim: int) -> Tensor:
    # not x[rows]: that copies a list to the device at every call
    return torch.stack([x.select(dim, i) for i in rows], dim)


def _rest(z: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """The other modalities' projections side by side (..., M, B, (M - 1) P), and who is there."""
    parts = torch.where(there[..., None], unit(z), 0.0).unbind(-3)
    others = [[k for k in range(len(parts)) if k != m] for m in range(len(parts))]
    side = torch.stack([torch.cat([parts[k] for k in ks], -1) for ks in others], -3)
    return side, torch.stack([_take(there, ks, 0).any(0) for ks in others])


def _noisy_fused(fused: Tensor) -> Tensor:
    """What stands for the rest where there are two modalities: the noisy view's fused vector.

    The clean one would contain the modality itself. Half the gradient flows into it, the mean of
    a stop-gradient at every second step.
    """
    return 0.5 * fused + 0.5 * fused.detach()
