"""Cross-modal attention over token sequences (MulT, https://arxiv.org/abs/1906.00295)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import Wide
from .attention_layers import Block, positions
from .base import Fusion, input_norm, masked_mean
from .output import FusionOutput


class CrossAttention(Fusion):
    """Each modality's tokens look at the tokens of all the others, through L layers.

    Takes (B, T, D) with masks, or vectors (B, D) as sequences of length 1. A missing modality is
    one token, its learned vector. Averages run over real tokens only, so neither padding nor
    batch mates change a row. A single modality looks at itself.
    """

    deep_encoders = False

    def build(self) -> None:
        """Makes the blocks, L a modality, and the layer over the averages."""
        config, many = self.config, len(self.names)
        self.blocks = nn.ModuleList(  # modality by modality
            Block(config.hidden, config.heads, config.dropout) for _ in range(many * config.layers)
        )
        self.mix = Wide(many * config.hidden, config.hidden)
        self.fused_width = config.hidden

    def forward(
        self,
        inputs: dict[str, Tensor],
        present: Tensor,
        masks: dict[str, Tensor] | None = None,
    ) -> FusionOutput:
        """Returns scores and vectors; `embeddings` are each modality's tokens averaged alone."""
        tokens, real, alone = [], [], []
        for i, name in enumerate(self.names):
            x = inputs[name]
            x = x[:, None] if x.dim() == 2 else x  # (B, T, D)
            mask = None if masks is None else masks.get(name)
            token, mask = self.tokens(i, x, mask, present[:, i])
            tokens.append(token)
            real.append(mask)
            alone.append(masked_mean(token, mask))
        seen = []
        for i in range(len(tokens)):
            others = [k for k in range(len(tokens)) if k != i] or [i]
            source = torch.cat([tokens[k] for k in others], 1)
            mask = torch.cat([real[k] for k in others], 1)
            x = tokens[i]
            for layer in range(self.config.layers):
                x = self.blocks[i * self.config.layers + layer](x, mask, source)
            seen.append(masked_mean(input_norm(x), real[i]))
        fused = self.drop(F.gelu(self.mix(torch.cat(seen, -1))))
        return self.read(torch.stack(alone), fused, {})

    def tokens(
        self, i: int, x: Tensor, mask: Tensor | None, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns tokens (B, T, H) and which are real (B, T), of modality `i`'s `x` (B, T, D)."""
        frames = x.shape[1]
        if mask is None:
            mask = ~x[..., 0].isnan()  # NaN stands where a row has no frame any more
        mask = mask & present[:, None]
        x = torch.where(mask[..., None], x, 0.0)
        h = self.drop(F.gelu(self.encoders.first[i](input_norm(x))))
        # a lone token too: a row of one frame must be the same in a longer, padded batch
        h = h + positions(frames, self.config.hidden, h)
        first = torch.arange(frames, device=x.device) == 0  # (T,)
        there = mask.any(1, keepdim=True)
        h = torch.where(there[..., None], h, self.encoders.missing[i])
        return h, mask | (first & ~there)
