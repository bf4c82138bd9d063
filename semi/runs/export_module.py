"""A trained model as one PyTorch module that needs nothing of this library once it is exported.

Letters: B rows, T frames, D features, M modalities, C classes, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.fusion import FusionOutput, build_fusion

from ..self_training.model_dir import Model
from ..training.voter import FUSED, can_speak


class Shipped(nn.Module):
    """A trained model as one plain module.

    (each modality (B, D), or (B, T, D) with NaN where a row has no frame any more; present (B, M))
    -> [probabilities (B, C)] and [valence and arousal (B, 2)], as the task has them.
    """

    weights: Tensor  # (H,) of the vote

    def __init__(self, model: Model) -> None:
        super().__init__()
        ensemble, task = model.ensemble, model.config.task
        self.names = list(ensemble.dims)
        self.heads, self.calibrations = model.voter.heads, model.voter.calibrations
        self.quiet = model.voter.quiet
        self.multi, self.classify, self.affect = task.multi, task.kind != "affect", task.affect
        # of a speaker's own scaling nothing is known here: all rows have that of an unknown one
        self.clamp = model.standardizer.clamp if model.standardizer.mode != "none" else 0.0
        self.frames = frames_of(model)
        self.register_buffer("weights", model.voter.weights.float())
        members = []
        for e in range(ensemble.count):
            one = build_fusion(ensemble.config, ensemble.dims, ensemble.classes)
            state = {k: v[e] for k, v in (ensemble.params | ensemble.buffers).items()}
            one.load_state_dict(state)
            members.append(one.eval().requires_grad_(False))
        self.members = nn.ModuleList(members)
        self.widths = {}
        for i, name in enumerate(self.names):
            profile = model.standardizer.profiles[name]
            self.register_buffer(f"mean_{i}", profile.mean)
            self.register_buffer(f"std_{i}", profile.std)
            axes = None if profile.components is None else profile.components * profile.scale
            self.register_buffer(f"axes_{i}", axes)
            self.widths[name] = len(profile.mean)

    def forward(self, inputs: list[Tensor], present: Tensor) -> list[Tensor]:
        """Returns calibrated probabilities (B, C), then valence and arousal (B, 2), if known."""
        values = {}
        for i, (name, x) in enumerate(zip(self.names, inputs, strict=True)):
            available = present[:, i].view(-1, *[1] * (x.dim() - 1))
            values[name] = torch.where(available, self.scaled(i, x), 0.0)
        outputs = [member(values, present) for member in self.members]
        answers = []
        if self.classify:
            answers.append(self.vote([self.by_head(out) for out in outputs], present))
        if self.affect:
            answers.append(torch.stack([out.affect for out in outputs]).mean(0))
        return answers

    def by_head(self, out: FusionOutput) -> Tensor:
        """Returns one member's probabilities (H, B, C), of several labels the log odds."""
        every = {FUSED: out.logits, **out.modality_logits}
        return torch.stack([every[h] if self.multi else every[h].softmax(-1) for h in self.heads])

    def vote(self, by_member: list[Tensor], present: Tensor) -> Tensor:
        """Returns (B, C): the members' mean, calibrated, voted over the heads that are present."""
        every = torch.stack(by_member)  # (E, H, B, C)
        if self.multi:
            odds = log_sigmoid(every).logsumexp(0) - log_sigmoid(-every).logsumexp(0)
            pairs = torch.stack([log_sigmoid(-odds), log_sigmoid(odds)], -1)
            pairs = pairs.flatten(1, 2)  # (H, B C, 2) of no and yes
            parts = [self.calibrations[h].apply(pairs[i])[:, 1] for i, h in enumerate(self.heads)]
            probs = torch.stack(parts).view_as(odds)
        else:
            log = every.mean(0).clamp(min=1e-30).log()
            parts = [self.calibrations[h].apply(log[i]) for i, h in enumerate(self.heads)]
            probs = torch.stack(parts)
        can = can_speak(self.heads, present, self.quiet)
        share = self.weights * can.to(probs.dtype)  # (B, H)
        mixed = torch.einsum("bh,hbc->bc", share, probs)
        total = share.sum(1, keepdim=True) if self.multi else mixed.sum(-1, keepdim=True)
        even = torch.full_like(mixed, 0.5 if self.multi else 1 / mixed.shape[-1])
        return torch.where(total > 0, mixed / total.clamp(min=1e-30), even)

    def scaled(self, i: int, x: Tensor) -> Tensor:
        """Returns the standardised features of modality i; a frame of NaN stays one."""
        out = (x - getattr(self, f"mean_{i}")) / getattr(self, f"std_{i}")
        out = out.clamp(-self.clamp, self.clamp) if self.clamp else out
        axes = getattr(self, f"axes_{i}")
        return out if axes is None else out @ axes


def log_sigmoid(x: Tensor) -> Tensor:
    """Returns log(sigmoid(x)); ONNX Runtime's own is the log of a rounded sigmoid, 1e-3 off."""
    return x.clamp(max=0) - x.abs().neg().exp().log1p()


def frames_of(model: Model) -> dict[str, int]:
    """Returns {modality: most frames T} of those that the model reads as sequences."""
    sections = model.config.encoders
    limit = model.config.features.max_frames
    frames = {}
    for name in model.ensemble.dims:
        whole = name.split(".")[0]  # speech.3 is a layer of speech
        section = sections.extra.get(whole) or getattr(sections, whole, None)
        if limit > 1 and section is not None and section.pooling == "frames":
            frames[name] = limit
    return frames
