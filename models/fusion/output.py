"""What every fusion model returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass
class FusionOutput:
    """Scores and vectors of B utterances; a missing modality's come from a learned vector."""

    logits: Tensor  # (B, C) of all modalities together
    modality_logits: dict[str, Tensor]  # name -> (B, C), of one modality alone
    embeddings: dict[str, Tensor]  # name -> (B, H)
    fused: Tensor  # (B, H') the vector that `logits` are read from
    affect: Tensor | None = None  # (B, 2) valence, arousal
    projections: dict[str, Tensor] = field(default_factory=dict)  # what contrastive terms compare
    extra: dict[str, Tensor] = field(default_factory=dict)  # rows (B, ...) of one model kind only

    def rows(self, start: int, stop: int) -> FusionOutput:
        """Returns rows start to stop: run clean and noisy views as one batch, then take them apart.

        Entries that are not per row (temperatures, of 0 or 1 dimensions) are kept whole.
        """
        rows = self.logits.shape[0]

        def cut(table: dict[str, Tensor]) -> dict[str, Tensor]:
            return {k: v[start:stop] if _per_row(v, rows) else v for k, v in table.items()}

        return replace(
            self,
            logits=self.logits[start:stop],
            modality_logits=cut(self.modality_logits),
            embeddings=cut(self.embeddings),
            fused=self.fused[start:stop],
            affect=None if self.affect is None else self.affect[start:stop],
            projections=cut(self.projections),
            extra=cut(self.extra),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors in one flat dictionary, the form `torch.func.vmap` can return."""
        flat = {"logits": self.logits, "fused": self.fused}
        if self.affect is not None:
            flat["affect"] = self.affect
        for prefix in ("modality_logits", "embeddings", "projections", "extra"):
            flat |= {f"{prefix}.{name}": v for name, v in getattr(self, prefix).items()}
        return flat


def _per_row(value: Tensor, rows: int) -> bool:
    return value.dim() >= 2 and value.shape[0] == rows
