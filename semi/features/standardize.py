"""Features scaled to mean 0 and deviation 1 on training rows, over all or per speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .config import FeaturesConfig
from .tensors import Features, Frames

CHUNK = 8192  # rows taken into float64 at once
FLAT = 1e-6  # a deviation below this share of the mean is a constant dimension, left unscaled


@dataclass
class Profile:
    """Mean and deviation of one modality, over all rows and for each known speaker."""

    mean: Tensor  # (D,) float32
    std: Tensor  # (D,) float32
    speaker_mean: Tensor  # (S, D) float32, shrunk; S = 0 unless per speaker
    speaker_std: Tensor  # (S, D) float32
    components: Tensor | None = None  # (D, P) float32 principal axes
    scale: float = 1.0  # one factor for all components: their mean variance is 1 afterwards


@dataclass
class Standardizer:
    """Scales features; fitted on training rows, kept with the model."""

    mode: str = "global"  # global | speaker | none
    clamp: float = 5.0
    shrink: float = 5.0
    pca: int | None = None
    speakers: list[str] = field(default_factory=list)  # S, the order of Profile.speaker_*
    profiles: dict[str, Profile] = field(default_factory=dict)  # by modality

    @classmethod
    def fit(
        cls,
        features: Features,
        rows: Tensor | Sequence[bool],
        config: FeaturesConfig | None = None,
        speakers: Sequence[str | None] | None = None,
    ) -> Standardizer:
        """Returns the scaling learned from the rows (N,) where `rows` is true; labels play no part.

        `speakers` (N,) names each row's speaker; None or "" = unknown.
        """
        rows = torch.as_tensor(rows, dtype=torch.bool)
        new, groups = cls._begin(rows, config, speakers)
        for m, name in enumerate(features.names):
            use = rows & features.present[:, m]
            new._fit_one(name, features.values[name][use], groups[use])
        return new

    def apply(self, features: Features, speakers: Sequence[str | None] | None = None) -> Features:
        """Returns the scaled features; missing rows stay zero.

        A speaker not seen in `fit` gets a profile from the rows given here (inputs only), so with
        `standardize: speaker` such a row's numbers depend on that speaker's other rows.
        """
        groups, fresh = self._groups(speakers, len(features))
        values = {}
        for m, name in enumerate(features.names):
            here = features.present[:, m]
            value = features.values[name]
            values[name] = self._apply_one(name, value, here, groups, fresh)
        return Features(values, features.present, list(features.names))

    @classmethod
    def fit_frames(
        cls,
        frames: dict[str, Frames],
        rows: Tensor | Sequence[bool],
        config: FeaturesConfig | None = None,
        speakers: Sequence[str | None] | None = None,
    ) -> Standardizer:
        """Returns the scaling learned from every frame of the rows (N,) where `rows` is true."""
        rows = torch.as_tensor(rows, dtype=torch.bool)
        new, groups = cls._begin(rows, config, speakers)
        for name, packed in frames.items():
            owner = packed.owner()
            use = rows[owner]
            new._fit_one(name, packed.values[use], groups[owner[use]])
        return new

    def apply_frames(
        self, frames: dict[str, Frames], speakers: Sequence[str | None] | None = None
    ) -> dict[str, Frames]:
        """Returns the scaled frames; see `apply`."""
        out = {}
        for name, packed in frames.items():
            groups, fresh = self._groups(speakers, len(packed))
            owner = packed.owner()
            here = torch.ones(len(owner), dtype=torch.bool)
            values = self._apply_one(name, packed.values, here, groups[owner], fresh)
            out[name] = Frames(values, packed.offsets, packed.present)
        return out

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors to keep, by name; `meta` holds the rest."""
        state = {}
        for name, profile in self.profiles.items():
            for part in ("mean", "std", "speaker_mean", "speaker_std", "components"):
                value = getattr(profile, part)
                if value is not None:
                    state[f"{name}:{part}"] = value.contiguous()
        return state

    def meta(self) -> dict[str, Any]:
        """Returns, as JSON-able values, what is not a tensor."""
        return {
            "mode": self.mode,
            "clamp": self.clamp,
            "shrink": self.shrink,
            "pca": self.pca,
            "speakers": self.speakers,
            "scale": {name: profile.scale for name, profile in self.profiles.items()},
        }

    @classmethod
    def load(cls, state: dict[str, Tensor], meta: dict[str, Any]) -> Standardizer:
        """Returns the standardizer that `state_dict` and `meta` describe."""
        words = {k: meta[k] for k in ("mode", "clamp", "shrink", "pca", "speakers")}
        new = cls(**words)
        for name, scale in meta["scale"].items():
            parts = {
                part: state[f"{name}:{part}"]
                for part in ("mean", "std", "speaker_mean", "speaker_std", "components")
                if f"{name}:{part}" in state
            }
            new.profiles[name] = Profile(**parts, scale=scale)
        return new

    @classmethod
    def _begin(
        cls, rows: Tensor, config: FeaturesConfig | None, speakers: Sequence[str | None] | None
    ) -> tuple[Standardizer, Tensor]:
        """Returns an empty standardizer that knows the training speakers, and each row's (N,)."""
        config = config or FeaturesConfig()
        new = cls(config.standardize, config.clamp, config.speaker_shrink, config.pca)
        names = _named(speakers, len(rows))
        if new.mode == "speaker":
            new.speakers = sorted({n for n, used in zip(names, rows.tolist(), strict=True) if used})
            new.speakers = [name for name in new.speakers if name]
        return new, _numbers(names, new.speakers)

    def _fit_one(self, name: str, values: Tensor, groups: Tensor) -> None:
        if not len(values):
            raise ValueError(
                f"no training row has {name}, so it cannot be standardised; give training rows "
                "that have it or leave that modality out"
            )
        dims = values.shape[1]
        mean, variance = torch.zeros(dims).double(), torch.ones(dims).double()
        if self.mode != "none":
            _, total, square = _moments(values, torch.zeros_like(groups), 1)
            mean, variance = total[0] / len(values), square[0] / len(values)
        own = (torch.zeros(0, dims), torch.ones(0, dims))
        if self.speakers:
            n = len(self.speakers)
            own = _per_group(values, groups, n, mean, variance, self.shrink)
        profile = Profile(mean.float(), _std(mean, variance), *own)
        if self.pca is not None:
            scaled = self._scale(values, profile, groups, *own)
            profile.components, profile.scale = _principal(scaled, self.pca)
        self.profiles[name] = profile

    def _groups(self, speakers: Sequence[str | None] | None, n: int) -> tuple[Tensor, int]:
        """Returns each row's speaker (n,), new ones after the known, and how many are new."""
        if self.mode != "speaker":
            return torch.full((n,), -1), 0
        names = _named(speakers, n)
        fresh = sorted({name for name in names if name} - set(self.speakers))
        return _numbers(names, [*self.speakers, *fresh]), len(fresh)

    def _apply_one(
        self, name: str, value: Tensor, here: Tensor, groups: Tensor, fresh: int
    ) -> Tensor:
        profile = self.profiles.get(name)
        if profile is None:
            known = ", ".join(self.profiles)
            raise ValueError(f"no profile for the modality {name}; this one was fitted on {known}")
        if value.shape[1] != len(profile.mean):
            raise ValueError(
                f"{name} has {value.shape[1]} dimensions, the profile was fitted on "
                f"{len(profile.mean)}: the encoder is not the one the model was trained with"
            )
        means, stds = profile.speaker_mean, profile.speaker_std
        if fresh:
            use = here & (groups >= len(means))
            spread = (profile.mean.double(), profile.std.double() ** 2)
            extra = _per_group(value[use], groups[use] - len(means), fresh, *spread, self.shrink)
            means, stds = torch.cat([means, extra[0]]), torch.cat([stds, extra[1]])
        scaled = self._scale(value, profile, groups, means, stds)
        if profile.components is not None:
            scaled = (scaled @ profile.components) * profile.scale
        return torch.where(here[:, None], scaled, 0.0)

    def _scale(
        self, value: Tensor, profile: Profile, groups: Tensor, means: Tensor, stds: Tensor
    ) -> Tensor:
        """Returns (n, D) scaled by each row's speaker (-1: the global profile), and clamped."""
        out = (value - profile.mean) / profile.std
        if len(means):
            for rows in torch.arange(len(value)).split(CHUNK):  # bounds the gathered profiles
                group = groups[rows].clamp(min=0)
                own = (value[rows] - means[group]) / stds[group]
                out[rows] = torch.where(groups[rows, None] >= 0, own, out[rows])
        if self.mode == "none" or not self.clamp:
            return out
        return out.clamp(-self.clamp, self.clamp)


def _named(speakers: Sequence[str | None] | None, n: int) -> list[str]:
    if speakers is None:
        return [""] * n
    names = ["" if s is None or s != s else str(s) for s in speakers]
    if len(names) != n:
        raise ValueError(f"{len(names)} speakers were given for {n} rows")
    return names


def _numbers(names: Sequence[str], order: Sequence[str]) -> Tensor:
    """Returns each name's place in `order` (n,) int64, -1 where it has none."""
    place = {name: i for i, name in enumerate(order)}
    return torch.tensor([place.get(name, -1) for name in names], dtype=torch.long)


def _moments(values: Tensor, groups: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each group's count (n, 1), sum and squared deviations (n, D), in float64."""
    count = torch.zeros(n, 1, dtype=torch.float64)
    total = torch.zeros(n, values.shape[1], dtype=torch.float64)
    square = torch.zeros_like(total)
    real = groups >= 0
    values, groups = values[real], groups[real]
    for value, group in zip(values.split(CHUNK), groups.split(CHUNK), strict=True):
        count.index_add_(0, group, torch.ones(len(group), 1, dtype=torch.float64))
        total.index_add_(0, group, value.double())
    mean = total / count.clamp(min=1)
    for value, group in zip(values.split(CHUNK), groups.split(CHUNK), strict=True):
        square.index_add_(0, group, (value.double() - mean[group]) ** 2)
    return count, total, square


def _per_group(
    values: Tensor, groups: Tensor, n: int, mean: Tensor, variance: Tensor, shrink: float
) -> tuple[Tensor, Tensor]:
    """Returns each group's mean and deviation (n, D): (count * own + shrink * global) / sum."""
    count, total, square = _moments(values, groups, n)
    weight = (count + shrink).clamp(min=1e-12)
    shrunk = torch.where(count + shrink > 0, (total + shrink * mean) / weight, mean)
    spread = torch.where(count + shrink > 0, (square + shrink * variance) / weight, variance)
    return shrunk.float(), _std(shrunk, spread)


def _std(mean: Tensor, variance: Tensor) -> Tensor:
    std = variance.clamp(min=0).sqrt()
    flat = std <= FLAT * mean.abs().clamp(min=1e-12)
    return torch.where(flat, torch.ones_like(std), std).float()


def _principal(values: Tensor, keep: int) -> tuple[Tensor, float]:
    """Returns the first principal axes (D, P) and the factor that makes their mean variance 1.

    One factor, not whitening: what varies little would otherwise become as loud as the rest. Each
    axis points to where its largest entry is positive, so that a refit gives the same signs.
    """
    n, dims = values.shape
    keep = min(keep, dims, n)
    if n >= dims:
        square = torch.zeros(dims, dims, dtype=torch.float64)
        for chunk in values.split(CHUNK):
            square.addmm_(chunk.double().T, chunk.double())
        power, axes = torch.linalg.eigh(square)  # ascending; columns are axes
    else:
        x = values.double()
        power, left = torch.linalg.eigh(x @ x.T)
        axes = torch.nn.functional.normalize(x.T @ left, dim=0)
    axes, power = axes.flip(1)[:, :keep], power.flip(0)[:keep]  # (D, P), (P,)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    variance = float(power.clamp(min=0).mean()) / n
    return axes.float().contiguous(), max(variance, 1e-12) ** -0.5
