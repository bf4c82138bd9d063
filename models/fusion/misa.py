"""MISA: private and shared vectors that attend to each other (arxiv.org/abs/2005.03545)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import PerModality, Wide
from ..losses.disentangle import reconstruction
from ..losses.reduce import row_weight as to_weight
from .attention_layers import Block
from .output import FusionOutput
from .private_shared import PrivateShared


class Misa(PrivateShared):
    """MISA: the 2 M vectors of a row attend to each other; embeddings are rebuilt from them."""

    moment_order = 5

    def build_mix(self, many: int, width: int) -> None:
        """Makes the attention blocks over a row's 2 M vectors, and the decoders."""
        config = self.config
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.mix = Wide(2 * many * width, width)
        self.decoder = PerModality(many, width, width)

    def combine(
        self, private: Tensor, shared: Tensor, present: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the fused vector (B, H) and the rebuilt embeddings (B, M, H)."""
        tokens = torch.cat([private, shared]).transpose(0, 1)  # (B, 2 M, H)
        mask = torch.cat([present, present])[..., 0].transpose(0, 1)  # (B, 2 M)
        for block in self.blocks:
            tokens = block(tokens, mask)
        rows = torch.where(mask[..., None], tokens, 0.0).flatten(1)
        rebuilt = self.decoder(private + shared).transpose(0, 1)
        return self.drop(F.gelu(self.mix(rows))), {"rebuilt": rebuilt}

    def auxiliary(
        self,
        output: FusionOutput,
        inputs: dict[str, Tensor],
        present: Tensor,
        row_weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Returns "difference", "moments" and "reconstruction" of the embeddings, weighted."""
        losses = super().auxiliary(output, inputs, present, row_weight)
        rebuilt = output.extra["rebuilt"]
        weight = to_weight(rebuilt[:, 0, 0], row_weight)
        each = [
            reconstruction(
                rebuilt[:, i], output.embeddings[name], to_weight(weight, weight, present[:, i])
            )
            for i, name in enumerate(self.names)
        ]
        return losses | {"reconstruction": self.config.auxiliary_weight * torch.stack(each).mean()}
