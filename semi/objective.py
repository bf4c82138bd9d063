"""The loss of one member on one batch; written for one model, run for all by vmap.

Letters: B rows of a batch, C classes, M modalities. The batch is given twice, clean and noisy, in
one forward pass of 2B rows. No boolean indexing and no host reads in here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.fusion import ContrastConfig, FusionOutput, contrastive_terms, group_means


@dataclass
class Batch:
    """One step's rows, shared by all members."""

    inputs: dict[str, Tensor]  # modality -> (2B, D_m), clean rows then their noisy twins
    present: Tensor  # (2B, M) bool
    contrast: Tensor  # () weight of the contrastive terms at this step
    adjust: Tensor  # (C,) added to the logits (logit adjustment), zeros otherwise
    contrasting: bool = True  # False leaves the contrastive terms out


class Objective(nn.Module):
    """Holds the model so that one functional call sees its parameters in every term."""

    def __init__(
        self,
        model: nn.Module,
        contrast: ContrastConfig,
        *,
        head_weight: float,
        noisy_share: float,
        classify: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.contrast = contrast
        self.head_weight = head_weight
        self.noisy_share = noisy_share
        self.classify = classify  # False: contrastive pre-training, no labels are looked at

    def forward(
        self, batch: Batch, target: Tensor, weight: Tensor, known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the scalar loss and its parts by name.

        Args:
            batch: the shared rows.
            target: (B, C) soft targets of this member's fold.
            weight: (B,) row weights of this member's fold; 0 = not a training row of it.
            known: (B,) int64 class this fold may use to tell false negatives, -1 = unknown.
        """
        out = self.model(batch.inputs, batch.present)
        parts: dict[str, Tensor] = {}
        loss = out.logits.new_zeros(())
        if self.classify:
            loss, parts = self._classification(out, batch, target, weight)
        auxiliary = getattr(self.model, "auxiliary", None)
        if auxiliary is not None:
            for name, value in auxiliary(out, batch.inputs, batch.present).items():
                parts[f"aux/{name}"] = value
                loss = loss + value
        terms = self._contrast(out, batch, known)
        if terms:
            total = torch.stack(list(group_means(terms).values())).sum()
            parts |= {f"contrast/{k}": v for k, v in terms.items()}
            loss = loss + batch.contrast * total
        return loss, {"loss": loss, **parts}

    def _classification(self, out, batch, target, weight):
        """Cross-entropy of the fused head and of each modality's head, clean and noisy rows."""
        share = self.noisy_share
        rows = torch.cat([(1 - share) * weight, share * weight])  # (2B,)
        both = torch.cat([target, target])  # (2B, C)

        def entropy(logits: Tensor, rows: Tensor) -> Tensor:
            nll = -(both * (logits + batch.adjust).log_softmax(-1)).sum(-1)  # (2B,)
            return (rows * nll).sum()

        fused = entropy(out.logits, rows)
        parts, loss = {"fused": fused}, fused
        if self.head_weight > 0 and len(out.modality_logits) > 1:
            for i, (name, logits) in enumerate(out.modality_logits.items()):
                parts[name] = entropy(logits, rows * batch.present[:, i])
                loss = loss + self.head_weight * parts[name]
        return loss, parts

    def _contrast(self, out: FusionOutput, batch: Batch, known: Tensor) -> dict[str, Tensor]:
        """Losses of the switched-on pairs; rows known to share a class are no negatives."""
        if not (self.contrast.any and batch.contrasting):
            return {}
        rows = len(batch.present)
        half = rows // 2
        same = (known[:, None] == known[None]) & (known >= 0)[:, None]
        clean, noisy = out.rows(0, half), out.rows(half, rows)
        here = batch.present[:half] & batch.present[half:]
        return contrastive_terms(None, clean, noisy, here, same=same, config=self.contrast)
