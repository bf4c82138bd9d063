"""One optimiser step of stacked members: the rate of the step, clipping, AdamW. Members never mix.

Letters: E members, in S equal parts that may have their own rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from ..config.training import TrainConfig

BETAS, EPS = (0.9, 0.999), 1e-8  # torch's own


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Returns the rate at `step`: linear warm-up, then a half cosine to zero."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def clip_members(grads: list[Tensor], limit: float) -> None:
    """Scales each member's gradient to a norm of at most `limit`, in place; members never mix."""
    norm = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]).norm(dim=0)
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)  # (E,)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


def keep_heap() -> None:
    """Lets the C library keep the memory that a step frees, up to 62 MB, instead of giving it back.

    Each step would else begin with page faults on fresh gradients, 5 to 10 % of its time. glibc
    keeps twice the largest block that was ever freed, and counts blocks below 32 MB only.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


class MemberAdamW:
    """AdamW whose every part of the members has the rates and the decay of its own settings.

    https://arxiv.org/abs/1711.05101; torch's fused kernel over views of the stacked parameters.
    """

    def __init__(self, params: Sequence[Tensor], configs: Sequence[TrainConfig]) -> None:
        """Takes leaves (E, ...) and the settings of E / S members each, in order."""
        self.params, self.configs = list(params), list(configs)
        device, count = self.params[0].device, configs[0].steps
        rates = [[learning_rate(step, count, c) for c in configs] for step in range(count)]
        # on a CPU the kernel reads the rate as it is, on a GPU as float32
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        self.rates = torch.tensor(rates, dtype=dtype, device=device)  # (steps, S)
        self.state = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in self.params}
        self.steps = {
            p: [torch.zeros((), device=p.device) for _ in configs] for p in self.params
        }  # fmt: skip

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self, at: Tensor) -> None:
        """Updates what has a gradient, at the rates of step `at` (1,) int64."""
        rates = self.rates.index_select(0, at)[0]
        learned = [p for p in self.params if p.grad is not None]
        groups = ([p for p in learned if p.dim() >= 3], [p for p in learned if p.dim() < 3])
        for place, config in enumerate(self.configs):
            for group, decay in zip(groups, (config.weight_decay, 0.0), strict=True):
                if not group:
                    continue
                size = len(group[0]) // len(self.configs)
                part = slice(place * size, (place + 1) * size)
                adamw(
                    [p[part] for p in group],
                    [p.grad[part] for p in group if p.grad is not None],
                    [self.state[p][0][part] for p in group],
                    [self.state[p][1][part] for p in group],
                    [],
                    [self.steps[p][place] for p in group],
                    fused=True, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=rates[place],
                    weight_decay=decay, eps=EPS, maximize=False,
                )  # fmt: skip
