"""What all fusion models share: encoders per modality, the learned missing vectors, the heads.

Letters: B batch, T frames, D features, H hidden, C classes, M modalities. VMAP.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import PerModality, Wide
from .config import FusionConfig
from .output import FusionOutput

NARROW = 32  # inputs of fewer dimensions are not normed


def input_norm(x: Tensor) -> Tensor:
    """Returns inputs (..., D) with mean 0 and deviation 1 in each row, unless D is small.

    A row's own mean and size are two of its D facts: nothing lost of hundreds, but most of what
    three or twenty biosignal features say. Those come standardised per feature already.
    """
    return F.layer_norm(x, x.shape[-1:]) if x.shape[-1] >= NARROW else x


class Encoders(nn.Module):
    """One pre-norm MLP per modality; a missing modality becomes its learned vector.

    The norm has no weights of its own: a linear layer follows and would absorb them.
    """

    def __init__(self, config: FusionConfig, dims: list[int], depth: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.first = nn.ModuleList(Wide(d, config.hidden) for d in dims)
        self.deep = nn.ModuleList(
            PerModality(len(dims), config.hidden, config.hidden) for _ in range(depth - 1)
        )
        self.missing = nn.Parameter(0.02 * torch.randn(len(dims), 1, config.hidden))

    def forward(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        """Returns embeddings (M, B, H) of M inputs (B, D_m) under `present` (B, M)."""
        rows = []
        for i, layer in enumerate(self.first):
            # what stands in for a missing value may be anything, NaN included: it never enters
            x = torch.where(present[:, i, None], inputs[i], 0.0)
            rows.append(layer(input_norm(x)))
        h = F.dropout(F.gelu(torch.stack(rows)), self.dropout, self.training)  # (M, B, H)
        for layer in self.deep:
            inner = F.gelu(layer(F.layer_norm(h, h.shape[-1:])))
            h = h + F.dropout(inner, self.dropout, self.training)
        return torch.where(present.transpose(0, 1)[..., None], h, self.missing)


class Fusion(nn.Module):
    """Base of the fusion models; a kind says how embeddings (M, B, H) become one vector.

    Rebuilt from config, `dims` (name -> D, in the order of `present`'s columns) and `classes`.
    A row's result depends on that row alone: no batch norm, no attention across rows.
    """

    fused_width = 0  # set by the kind before the heads are built
    contrasts = False  # True where the output has projections, which contrastive terms compare
    deep_encoders = True  # False where a kind's own layers follow the first linear one

    def __init__(self, config: FusionConfig, dims: dict[str, int], classes: int) -> None:
        super().__init__()
        check_sizes(dims, classes)
        self.config, self.names, self.classes = config, list(dims), classes
        self.dims = dict(dims)
        depth = config.depth if self.deep_encoders else 1
        self.encoders = Encoders(config, list(dims.values()), depth)
        self.build()
        self.modality_heads = PerModality(len(dims), config.hidden, classes)
        self.head = nn.Linear(self.fused_width, classes)
        self.affect_head = nn.Linear(self.fused_width, 2) if config.affect else None
        if config.affect:
            # set when training is over: no answer outside of the values that were learned from
            limits = torch.tensor([[-torch.inf] * 2, [torch.inf] * 2])
            self.affect_range = nn.Parameter(limits)  # (2, 2) lowest and highest; never trained

    def build(self) -> None:
        """Makes the layers of this kind and sets `fused_width`."""
        raise NotImplementedError

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the fused vector (B, H') and extras, from (M, B, H) and `present` (M, B, 1)."""
        raise NotImplementedError

    def forward(
        self,
        inputs: dict[str, Tensor],
        present: Tensor,
        masks: dict[str, Tensor] | None = None,
    ) -> FusionOutput:
        """Returns scores and vectors of `inputs` name -> (B, D) or (B, T, D), `present` (B, M).

        `masks` name -> (B, T) bool marks real frames; without it frames that begin with NaN are
        none. This class averages them first.
        """
        h = self.encoders(self.vectors(inputs, masks), present)
        return self.finish(h, present.transpose(0, 1)[..., None])

    def finish(self, h: Tensor, present: Tensor) -> FusionOutput:
        """Returns the output for embeddings (M, B, H) and `present` (M, B, 1)."""
        return self.read(h, *self.fuse(h, present))

    def read(self, h: Tensor, fused: Tensor, extra: dict[str, Tensor]) -> FusionOutput:
        """Returns the output of all heads for embeddings (M, B, H) and the fused vector (B, H')."""
        scores = self.modality_heads(h)  # (M, B, C)
        return FusionOutput(
            logits=self.head(fused),
            modality_logits={name: scores[i] for i, name in enumerate(self.names)},
            embeddings={name: h[i] for i, name in enumerate(self.names)},
            fused=fused,
            affect=self.affect(fused),
            extra=extra,
        )

    def affect(self, fused: Tensor) -> Tensor | None:
        """Returns valence and arousal (B, 2); when trained within the range of what it learned.

        None of a model without these tasks.
        """
        if self.affect_head is None:
            return None
        value = self.affect_head(fused)
        if self.training:
            return value
        return torch.maximum(torch.minimum(value, self.affect_range[1]), self.affect_range[0])

    def vectors(self, inputs: dict[str, Tensor], masks: dict[str, Tensor] | None) -> list[Tensor]:
        """Returns the inputs in the model's order, sequences averaged over their real frames."""
        return [framewise_mean(name, inputs, masks) for name in self.names]

    def auxiliary(
        self,
        output: FusionOutput,
        inputs: dict[str, Tensor],
        present: Tensor,
        row_weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Returns the kind's own losses by name, ready to be added; most kinds have none.

        It reads the output alone and no weights of the model, so it is right outside
        `functional_call` too.
        """
        return {}

    def drop(self, x: Tensor) -> Tensor:
        """Returns `x` after dropout, in training."""
        return F.dropout(x, self.config.dropout, self.training)


class Concat(Fusion):
    """Concatenated embeddings, one hidden layer: the plain late fusion."""

    def build(self) -> None:
        """Makes the layer over the concatenation."""
        width = self.config.hidden
        self.mix = Wide(len(self.names) * width, width)
        self.fused_width = width

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns GELU(W [h_1; ...; h_M]); a missing modality takes part as its learned vector."""
        rows = h.transpose(0, 1).flatten(1)  # (B, M H)
        return self.drop(F.gelu(self.mix(rows))), {}


def check_sizes(dims: dict[str, int], classes: int) -> None:
    """Raises ValueError unless there is a modality and a class."""
    if not dims:
        raise ValueError("dims must name at least one modality")
    if classes < 1:
        raise ValueError(f"classes must be >= 1, got {classes}")


def framewise_mean(name: str, inputs: dict[str, Tensor], masks: dict[str, Tensor] | None) -> Tensor:
    """Returns one modality (B, D), a sequence (B, T, D) averaged over its real frames."""
    x = inputs[name]
    if x.dim() != 3:
        return x
    mask = None if masks is None else masks.get(name)
    return masked_mean(x, ~x[..., 0].isnan() if mask is None else mask)


def masked_softmax(score: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Returns softmax over the entries of `mask` along `dim`; all 0 where there is none."""
    none = ~mask.any(dim, keepdim=True)
    share = score.masked_fill(~mask & ~none, -torch.inf).softmax(dim)
    return torch.where(mask, share, 0.0)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the mean over real frames (B, D) of `x` (B, T, D), `mask` (B, T); 0 without any."""
    if mask is None:
        return x.mean(-2)
    total = torch.where(mask[..., None], x, 0.0).sum(-2)
    return total / mask.sum(-1, keepdim=True).clamp(min=1)
