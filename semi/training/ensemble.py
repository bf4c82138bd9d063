"""E models of one architecture as one: every parameter is stacked to (E, ...) and run by vmap.

Letters: E members, N rows, B rows of a chunk, C classes, M modalities.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.fusion import FusionConfig, build_fusion
from models.fusion.config import CLOSED_FORM, ON_AXES
from models.fusion.linear import Linear, coordinates, member_scores, on_axes

from ..shapes import misfit
from .copies import to_device, to_host

SPEC_SHAPE = {"config": {str: (float, bool, str, [str])}, "dims": {str: int}, "classes": int}
GONE = ("param.task_scale",)  # of earlier versions: read by nothing in the model


@dataclass
class Logits:
    """What an ensemble says about N rows, member by member."""

    fused: Tensor  # (E, N, C)
    by_modality: dict[str, Tensor]  # modality -> (E, N, C)
    affect: Tensor | None = None  # (E, N, 2) valence and arousal, where the model has that head

    def heads(self) -> dict[str, Tensor]:
        """Returns every head by name: the fused one, then those of the modalities."""
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
        states, draws = [], torch.default_generator  # of the CPU, where modules are made
        made = 1 if config.kind in CLOSED_FORM else count  # of those nothing is drawn
        with torch.random.fork_rng(devices=[]):
            for e in range(made):
                draws.manual_seed(seed * 100_003 + e)
                module = build_fusion(config, dims, classes)
                states.append((dict(module.named_parameters()), dict(module.named_buffers())))
        states *= count // made
        params = {k: torch.stack([s[0][k].detach() for s in states]) for k in states[0][0]}
        buffers = {k: torch.stack([s[1][k] for s in states]) for k in states[0][1]}
        parts = (to_device(params, device), to_device(buffers, device))
        return cls(config, dims, classes, *parts)

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

    def with_params(self, params: dict[str, Tensor]) -> Ensemble:
        """Returns the ensemble with other numbers of the same shapes."""
        other = copy.copy(self)  # the template is shared: it only lends its forward
        other.params = params
        return other

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
        if self._wide_axes():  # of all members alike: the full width is gone through once
            seen = coordinates({m: values[m] for m in self.dims}, present, self.params)
            return self.on_axes().predict_logits(seen, present, chunk=chunk)
        if isinstance(self.template, Linear) and self._is_linear():
            return Logits(*member_scores(self.template, self.params, values, present))
        template = self.template.eval()
        frames = max((v.shape[1] for v in values.values() if v.dim() == 3), default=1)
        chunk = max(1, chunk // frames)

        def one(params, buffers, inputs, here):
            out = functional_call(template, (params, buffers), (inputs, here))
            outputs = {"fused": out.logits}
            if self.config.affect:
                outputs["affect"] = out.affect
            return outputs, out.modality_logits

        spread = vmap(one, in_dims=(0, 0, None, None), randomness="error")
        parts = []
        for start in range(0, len(present), chunk):
            rows = slice(start, start + chunk)
            inputs = {m: values[m][rows] for m in self.dims}
            parts.append(spread(self.params, self.buffers, inputs, present[rows]))
        if not parts:
            empty = next(iter(self.params.values())).new_zeros(self.count, 0, self.classes)
            return Logits(empty, dict.fromkeys(self.dims, empty))
        outputs = {k: torch.cat([p[0][k] for p in parts], 1) for k in parts[0][0]}
        heads = {m: torch.cat([p[1][m] for p in parts], 1) for m in self.dims}
        return Logits(outputs["fused"], heads, outputs.get("affect"))

    def on_axes(self) -> Ensemble:
        """Returns the linear members' maps for rows given by their `coordinates`, not by values."""
        params = on_axes(self.params)
        views = enumerate(self.dims)
        dims = {name: params[f"views.{i}.basis"].shape[1] for i, name in views}
        return Ensemble(self.config, dims, self.classes, params, self.buffers)

    def from_axes(self, dims: dict[str, int], axes: dict[str, Tensor]) -> Ensemble:
        """Returns the members for values of full width; undoes `on_axes`.

        Args:
            dims: width of each modality.
            axes: `views.<i>.center` (1, D) and `views.<i>.basis` (1, D, k).
        """
        like = next(iter(self.params.values()))
        shared = {k: v.to(like).expand(self.count, *v.shape[1:]) for k, v in axes.items()}
        return Ensemble(self.config, dims, self.classes, self.params | shared, self.buffers)

    def _is_linear(self) -> bool:
        """True for members that say what their linear maps say: they have no branch, or a dead one.

        Gold refuses most steps of a contrastive residual, and its branch ends in zeros until then.
        """
        ends = [v for k, v in self.params.items() if k.endswith(".outer")]
        return self.config.kind in CLOSED_FORM or not any(bool(end.any()) for end in ends)

    def _wide_axes(self) -> bool:
        """True for linear members of a width beyond their axes, which all of them share."""
        if self.config.kind not in ON_AXES:
            return False
        shapes = [self.params[f"views.{i}.basis"].shape for i in range(len(self.dims))]
        if all(width == k for _, width, k in shapes):
            return False
        parts = [v for k, v in self.params.items() if k.endswith((".basis", ".center"))]
        return all(p.stride(0) == 0 or torch.equal(p, p[:1].expand_as(p)) for p in parts)

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor by name, ready for a safetensors file."""
        parts = {f"param.{k}": v for k, v in self.params.items()}
        parts |= {f"buffer.{k}": v for k, v in self.buffers.items()}
        return to_host(parts)

    def spec(self) -> dict:
        """Returns the JSON-able facts that rebuild the architecture: no class paths."""
        return {"config": asdict(self.config), "dims": self.dims, "classes": self.classes}

    @classmethod
    def from_state(
        cls, spec: dict, tensors: dict[str, Tensor], *, device: torch.device | str = "cpu"
    ) -> Ensemble:
        """Returns the ensemble that `spec` and `tensors` describe; ValueError where none can be."""
        if wrong := misfit(spec, SPEC_SHAPE):
            raise ValueError(f"its description {wrong}")
        part = {
            kind: to_device(
                {
                    k[len(kind) + 1 :]: v
                    for k, v in tensors.items()
                    if k.startswith(kind + ".") and k not in GONE
                },
                device,
            )
            for kind in ("param", "buffer")
        }
        parts = (part["param"], part["buffer"])
        whole = cls(_fusion_config(spec["config"]), spec["dims"], spec["classes"], *parts)
        whole._check()
        return whole

    def _check(self) -> None:
        """Raises ValueError unless the tensors are those of this architecture, E of each."""
        own = {**dict(self.template.named_parameters()), **dict(self.template.named_buffers())}
        given = {**self.params, **self.buffers}
        if odd := sorted(own.keys() ^ given.keys()):
            raise ValueError(f"{odd[0]} is {'missing' if odd[0] in own else 'none of its tensors'}")
        counts = {value.shape[:1] for value in given.values()}
        for name, value in given.items():
            like = own[name]
            fits = value.dtype == like.dtype and value.dim() == like.dim() + 1
            if self.config.kind not in ON_AXES:  # solved: as many axes as the data have
                fits &= value.shape[1:] == like.shape
            if not fits or counts != {value.shape[:1]} or not len(value):
                raise ValueError(f"{name} has the shape {tuple(value.shape)} and {value.dtype}")
        if self.config.kind in ON_AXES:  # RuntimeError where the axes do not go together
            like = self.params["prior"]
            row = {name: like.new_zeros(1, width) for name, width in self.dims.items()}
            self.predict_logits(row, like.new_ones(1, len(row), dtype=torch.bool))


def seed_global(seed: int, device: torch.device | None = None) -> None:
    """Seeds the generators that torch draws from by itself: the CPU's, and that of `device`.

    `torch.manual_seed` writes down the whole call stack where CUDA is not in use: 1 ms a call.
    """
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _fusion_config(saved: dict) -> FusionConfig:
    """Returns the settings of a saved model, also of one of an earlier version."""
    known = dict(saved)
    if known.pop("balanced_head", False):
        raise ValueError(
            "this model has a class-balanced auxiliary head, which has been removed since; use "
            "the version of semi that trained it"
        )
    return FusionConfig(**known)
