"""Linear models on the principal components of each view; solved in closed form, not by steps.

Letters: B batch, D features, k components, C classes, M modalities. VMAP.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from .base import check_sizes, framewise_mean
from .config import FusionConfig
from .output import FusionOutput

CACHED = 2**21  # numbers of the input that are projected at once: they stay in the cache


class Linear(nn.Module):
    """logits = prior + sum over present views of (x - center) basis W + b; each view's own too.

    A missing view adds nothing, so a row's result depends on what it has; a view of `config.quiet`
    adds nothing either where another one is there. The kinds `discriminant`, `logistic` and `ridge`
    are this model and differ in how semi.training.students finds the numbers; `ridge` says nothing
    of classes. Valence and arousal are such a sum too, within the range of what was learned from.
    """

    knows_affect = True  # False where a kind's own parts would have to learn it and do not

    def __init__(self, config: FusionConfig, dims: dict[str, int], classes: int) -> None:
        super().__init__()
        check_sizes(dims, classes)
        if config.affect and not self.knows_affect:
            raise ValueError(
                f"kind {config.kind} knows classes only and has no head for valence and arousal; "
                "choose another kind, such as discriminant"
            )
        self.config, self.names, self.classes = config, list(dims), classes
        self.dims = dict(dims)
        self.loud = loud_views(self.names, config.quiet)
        self.prior = nn.Parameter(torch.zeros(classes))
        self.views = nn.ModuleList(self.view_of(d) for d in dims.values())
        if config.affect:
            self.affect_prior = nn.Parameter(torch.zeros(2))
            limits = torch.tensor([[-torch.inf] * 2, [torch.inf] * 2])
            self.affect_range = nn.Parameter(limits)  # (2, 2) lowest and highest

    def view_of(self, width: int) -> View:
        """Returns the numbers of a view of so many columns."""
        return View(width, min(self.config.components, width), self.classes, self.config.affect)

    def forward(
        self,
        inputs: dict[str, Tensor],
        present: Tensor,
        masks: dict[str, Tensor] | None = None,
    ) -> FusionOutput:
        """Returns scores of `inputs` name -> (B, D) or (B, T, D) frames, under `present` (B, M)."""
        logits = self.prior.expand(present.shape[0], -1)  # len() would freeze it
        alone, heard, classes = {}, self.heard(present), self.classes
        affect = self.affect_prior.expand(logits.shape[0], -1) if self.config.affect else None
        for i, (name, view) in enumerate(zip(self.names, self.views, strict=True)):
            # what stands in for a missing value may be NaN: it stays in its row and is taken out
            both = view(framewise_mean(name, inputs, masks))
            both = torch.where(present[:, i, None], both, 0.0)
            add = torch.where(heard[:, i, None], both, 0.0)
            logits = logits + add[:, :classes]
            alone[name] = self.prior + both[:, classes : 2 * classes]
            affect = None if affect is None else affect + add[:, 2 * classes :]
        if affect is not None:
            affect = torch.maximum(
                torch.minimum(affect, self.affect_range[1]), self.affect_range[0]
            )
        return FusionOutput(logits, alone, embeddings=dict(alone), fused=logits, affect=affect)

    def heard(self, present: Tensor) -> Tensor:
        """Returns (B, M): which of the views present in a row add to its scores."""
        if len(self.loud) == len(self.names):
            return present
        some = torch.stack([present[:, i] for i in self.loud]).any(0)  # (B,)
        loud = [torch.ones_like(some) if i in self.loud else ~some for i in range(len(self.names))]
        return present & torch.stack(loud, 1)


@torch.no_grad()
def member_scores(
    model: Linear, params: dict[str, Tensor], inputs: dict[str, Tensor], present: Tensor
) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
    """Returns what E members say of B rows: scores (E, B, C) and those of each view alone.

    And valence and arousal (E, B, 2), where the model knows them.

    The same as `model` run once a member with its part of the stacked `params`, by one product for
    all of them. In memory rows lie last: few classes are slow to sum over where they do.
    """
    classes, heard = model.classes, model.heard(present)
    prior = params["prior"][..., None]  # (E, C, 1)
    scores, alone = prior.expand(-1, -1, len(present)), {}
    heads, affect = ["joint", "own"], None
    if model.config.affect:
        heads.append("affect")
        affect = params["affect_prior"][..., None].expand(-1, -1, len(present))  # (E, 2, B)
    for i, name in enumerate(model.names):
        own = {k: params[f"views.{i}.{k}"] for k in ("center", "basis", *heads)}
        # (E, D, 2 C), or 2 C + 2 with valence and arousal
        both = own["basis"] @ torch.cat([own[k] for k in heads], 2)
        shift = torch.cat([params[f"views.{i}.{k}_bias"] for k in heads], 1)
        shift = shift - (own["center"][:, None] @ both)[:, 0]
        x = framewise_mean(name, inputs, None)
        found = both.transpose(1, 2).flatten(0, 1) @ x.T  # (E 2 C, B)
        found = found.view(len(both), both.shape[2], len(x)) + shift[..., None]
        # what stands in for a missing value may be NaN: it stays in its row and is taken out
        found = torch.where(present[:, i], found, 0.0)
        add = torch.where(heard[:, i], found, 0.0)
        scores = scores + add[:, :classes]
        alone[name] = (prior + found[:, classes : 2 * classes]).mT
        affect = None if affect is None else affect + add[:, 2 * classes :]
    if affect is not None:
        low, high = params["affect_range"].unbind(1)  # (E, 2)
        affect = torch.maximum(torch.minimum(affect.mT, high[:, None]), low[:, None])
    return scores.mT, alone, affect


def loud_views(names: list[str], quiet: list[str]) -> list[int]:
    """Returns the numbers of the views that are not quiet; ValueError where there is none."""
    unknown = sorted(set(quiet) - set(names))
    if unknown:
        raise ValueError(f"quiet names {unknown[0]}, but the modalities are {', '.join(names)}")
    loud = [i for i, name in enumerate(names) if name not in quiet]
    if not loud:
        raise ValueError(f"quiet names every modality ({', '.join(names)}); leave one out of it")
    return loud


class View(nn.Module):
    """The numbers of one view: principal axes, and a linear map for it alone and beside others."""

    def __init__(self, width: int, components: int, classes: int, affect: bool = False) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.zeros(width))
        self.basis = nn.Parameter(torch.eye(width, components))
        self.own = nn.Parameter(torch.zeros(components, classes))
        self.own_bias = nn.Parameter(torch.zeros(classes))
        self.joint = nn.Parameter(torch.zeros(components, classes))
        self.joint_bias = nn.Parameter(torch.zeros(classes))
        self.affect = nn.Parameter(torch.zeros(components, 2)) if affect else None
        self.affect_bias = nn.Parameter(torch.zeros(2)) if affect else None

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, 2 C) of rows (B, D): scores beside other views, then alone; one product.

        And what it adds to valence and arousal, (B, 2 C + 2), where the model knows them.
        """
        maps: list[Tensor] = [self.joint, self.own]
        biases: list[Tensor] = [self.joint_bias, self.own_bias]
        if self.affect is not None and self.affect_bias is not None:
            maps, biases = [*maps, self.affect], [*biases, self.affect_bias]
        return (x - self.center) @ (self.basis @ torch.cat(maps, 1)) + torch.cat(biases)


@torch.no_grad()
def coordinates(
    values: Mapping[str, Any], present: Tensor, axes: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Returns every row on the principal axes of each view (N, k); zeros where it lacks the view.

    The one product with the full width D: a Linear with `on_axes` of its numbers takes it from
    here. A few rows at a time, so that no second (N, D) arises.

    Args:
        values: name -> (N, D) or (N, T, D) frames: tensors, or what `split` yields them of.
        present: (N, M).
        axes: `views.<i>.center` (1, D) and `views.<i>.basis` (1, D, k); of stacked members the
            first counts.
    """
    seen = {}
    for i, (name, value) in enumerate(values.items()):
        center, basis = (axes[f"views.{i}.{part}"][0] for part in ("center", "basis"))
        rows = max(1, CACHED * (64 if basis.is_cuda else 1) // max(1, prod(value.shape[1:])))
        out = basis.new_empty(len(value), basis.shape[1])
        parts = (value.split(rows), present[:, i].split(rows), out.split(rows))
        turned = basis.T.contiguous()
        room = basis.new_empty(min(rows, len(value)), value.shape[-1])
        for given, here, part in zip(*parts, strict=True):
            x = framewise_mean(name, {name: given}, None)
            x = torch.sub(x, center, out=room[: len(x)])
            x = (turned @ x.T).T  # the faster way round
            part.copy_(torch.where(here[:, None], x, 0.0))
        seen[name] = out
    return seen


def on_axes(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the numbers of the same maps for rows that are given by their `coordinates`."""
    narrow = dict(params)
    for name, value in params.items():
        if name.endswith(".basis"):  # (E, D, k)
            count, _, k = value.shape
            narrow[name] = torch.eye(k).to(value).expand(count, k, k)
            narrow[name.replace(".basis", ".center")] = value.new_zeros(count, k)
    return narrow
