"""E models of one architecture as one: every parameter is stacked to (E, ...) and run by vmap.

Letters: E members, N rows, B rows of a chunk, C classes, M modalities.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.fusion import FusionConfig, build_fusion


@dataclass
class Logits:
    """What an ensemble says about N rows, member by member."""

    fused: Tensor  # (E, N, C)
    by_modality: dict[str, Tensor]  # modality -> (E, N, C)
    affect: Tensor | None = None  # (E, N, 2) valence and arousal, where the model has that head

    def heads(self) -> dict[str, Tensor]:
        """Returns every head by name, the fused one first."""
        return {"fused": self.fused, **self.by_modality}


class Ensemble:
    """E members of one fusion architecture with stacked parameters; plain tensors and a spec."""

    def __init__(
        self,
        config: FusionConfig,
        dims: dict[str, int],
        classes: int,
        params: dict[str, Tensor],
        buffers: dict[str, Tensor],
    ) -> None:
        self.config = config
        self.dims = dict(dims)
        self.classes = classes
        self.params = params  # name -> (E, ...)
        self.buffers = buffers  # name -> (E, ...)
        # The template only lends its forward; its own values are never used.
        with torch.random.fork_rng(devices=[]):
            self.template = build_fusion(config, self.dims, classes)

    @classmethod
    def create(
        cls,
        config: FusionConfig,
        dims: dict[str, int],
        classes: int,
        *,
        count: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> Ensemble:
        """Returns `count` members, member e freshly initialised from seed and e alone."""
        states = []
        with torch.random.fork_rng(devices=[]):
            for e in range(count):
                torch.manual_seed(seed * 100_003 + e)
                module = build_fusion(config, dims, classes)
                states.append((dict(module.named_parameters()), dict(module.named_buffers())))
        params = {
            k: torch.stack([s[0][k].detach() for s in states]).to(device) for k in states[0][0]
        }
        buffers = {k: torch.stack([s[1][k] for s in states]).to(device) for k in states[0][1]}
        return cls(config, dims, classes, params, buffers)

    @property
    def count(self) -> int:
        """Number of members E."""
        return next(iter(self.params.values())).shape[0]

    def select(self, members: list[int] | slice) -> Ensemble:
        """Returns the ensemble of some of the members (copies)."""
        return Ensemble(
            self.config,
            self.dims,
            self.classes,
            {k: v[members].clone() for k, v in self.params.items()},
            {k: v[members].clone() for k, v in self.buffers.items()},
        )

    @torch.no_grad()
    def predict_logits(
        self, values: dict[str, Tensor], present: Tensor, *, chunk: int = 2048
    ) -> Logits:
        """Returns the logits of every member on N rows; dropout and noise are off.

        Args:
            values: modality -> (N, D_m); rows where it is absent may hold anything.
            present: (N, M) bool, columns in the order of the ensemble's `dims`.
            chunk: rows per pass, which bounds the memory.
        """
        template = self.template.eval()
        frames = max((v.shape[1] for v in values.values() if v.dim() == 3), default=1)
        chunk = max(1, chunk // frames)

        def one(params, buffers, inputs, here):
            out = functional_call(template, (params, buffers), (inputs, here))
            return out.logits, out.modality_logits, out.affect

        run = vmap(one, in_dims=(0, 0, None, None), randomness="error")
        if self.config.affect:
            spread = run
        else:

            def without(params, buffers, inputs, here):
                return one(params, buffers, inputs, here)[:2]

            spread = vmap(without, in_dims=(0, 0, None, None), randomness="error")
        fused, heads, affect = [], {m: [] for m in self.dims}, []
        for start in range(0, len(present), chunk):
            rows = slice(start, start + chunk)
            inputs = {m: values[m][rows] for m in self.dims}
            out = spread(self.params, self.buffers, inputs, present[rows])
            fused.append(out[0])
            for m in self.dims:
                heads[m].append(out[1][m])
            if len(out) > 2:
                affect.append(out[2])
        empty = next(iter(self.params.values())).new_zeros(self.count, 0, self.classes)
        return Logits(
            torch.cat(fused, 1) if fused else empty,
            {m: torch.cat(parts, 1) if parts else empty for m, parts in heads.items()},
            torch.cat(affect, 1) if affect else None,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor by name, ready for a safetensors file."""
        parts = {f"param.{k}": v for k, v in self.params.items()}
        parts |= {f"buffer.{k}": v for k, v in self.buffers.items()}
        return {k: v.detach().cpu().contiguous() for k, v in parts.items()}

    def spec(self) -> dict:
        """Returns the JSON-able facts that rebuild the architecture: no class paths."""
        return {"config": asdict(self.config), "dims": self.dims, "classes": self.classes}

    @classmethod
    def from_state(
        cls, spec: dict, tensors: dict[str, Tensor], *, device: torch.device | str = "cpu"
    ) -> Ensemble:
        """Returns the ensemble that `spec` and `tensors` describe."""
        part = {
            kind: {
                k[len(kind) + 1 :]: v.to(device)
                for k, v in tensors.items()
                if k.startswith(kind + ".")
            }
            for kind in ("param", "buffer")
        }
        return cls(
            FusionConfig(**spec["config"]),
            spec["dims"],
            spec["classes"],
            part["param"],
            part["buffer"],
        )
