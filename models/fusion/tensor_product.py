"""Product of embeddings, whole: every combination of one entry from each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..heads import PerModality, Wide
from .base import Fusion


class TensorProduct(Fusion):
    """TFN: the outer product of all [z_m; 1] (https://arxiv.org/abs/1707.07250).

    The published product is (H + 1)^M wide; here every z_m is first narrowed so that the whole
    stays within 4096 entries.
    """

    def build(self) -> None:
        """Makes the narrowing layers and the layer over the product."""
        many, config = len(self.names), self.config
        if many > 8:
            raise ValueError(
                f"kind 'tensor' multiplies all modalities and takes at most 8, got {many}; "
                "use 'low_rank'"
            )
        narrow = min(int(4096 ** (1 / many) + 1e-9) - 1, 32)
        self.narrow = PerModality(many, config.hidden, narrow)
        self.mix = Wide((narrow + 1) ** many, config.hidden)
        self.fused_width = config.hidden

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns GELU(W ([z_1; 1] x ... x [z_M; 1])) (B, H); a missing z_m is 0."""
        z = torch.where(present, torch.tanh(self.narrow(h)), 0.0)  # (M, B, N)
        z = F.pad(z, (0, 1), value=1.0)
        product = z[0]
        for other in z[1:]:
            product = (product[:, :, None] * other[:, None, :]).flatten(1)
        return self.drop(F.gelu(self.mix(product))), {}
