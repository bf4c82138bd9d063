"""Features scaled to mean 0 and deviation 1 on training rows, over all or per speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..data.wording import counted
from .config import FeaturesConfig
from .mapped import MappedVectors
from .moments import BLOCK_ROWS, deviation, moments, per_group
from .principal import principal
from .profile import Profile
from .tensors import Features, Frames, Vectors

STANDARDIZER_SHAPE = {
    "mode": str, "clamp": (float, None), "shrink": float, "pca": (int, None), "speakers": [str],
    "scale": {str: float},
}  # fmt: skip


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
            some = (rows & features.present[:, m]).nonzero()[:, 0]
            new._fit_one(name, features.values[name], groups[some], some)
        return new

    def apply(
        self,
        features: Features,
        speakers: Sequence[str | None] | None = None,
        *,
        in_place: bool = False,
    ) -> Features:
        """Returns the scaled features; missing rows stay zero.

        A speaker not seen in `fit` gets a profile from the rows given here (inputs only), so with
        `standardize: speaker` such a row's numbers depend on that speaker's other rows.

        With `in_place` the values given are written over: no second table, which of thousands of
        columns costs more to lay out than to compute.
        """
        groups, fresh = self._groups(speakers, len(features))
        values = {}
        for m, name in enumerate(features.names):
            known = features.present[:, m]
            value = features.values[name]
            values[name] = self._apply_one(name, value, known, groups, fresh, in_place)
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
            new._fit_one(name, packed.values[use], groups[owner[use]], None)
        return new

    def apply_frames(
        self, frames: dict[str, Frames], speakers: Sequence[str | None] | None = None
    ) -> dict[str, Frames]:
        """Returns the scaled frames; see `apply`."""
        out = {}
        for name, packed in frames.items():
            groups, fresh = self._groups(speakers, len(packed))
            owner = packed.owner()
            known = torch.ones(len(owner), dtype=torch.bool)
            values = self._apply_one(name, packed.values, known, groups[owner], fresh)
            out[name] = Frames(values[:], packed.offsets, packed.present)
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
            if len(parts.keys() - {"components"}) < 4:
                raise ValueError(f"it lacks means or deviations of {name}")
            profile = Profile(**parts, scale=scale)
            if len(profile.speaker_mean) != len(new.speakers):
                raise ValueError(f"{name} has other speakers than the model")
            new.profiles[name] = profile
        return new

    @classmethod
    def _begin(
        cls, rows: Tensor, config: FeaturesConfig | None, speakers: Sequence[str | None] | None
    ) -> tuple[Standardizer, Tensor]:
        """Returns an empty standardizer that knows the training speakers, and each row's (N,)."""
        config = config or FeaturesConfig()
        # `semi.self_training.standardize_selection` settles auto; where nobody asked, it is global
        mode = "global" if config.standardize == "auto" else config.standardize
        new = cls(mode, config.clamp, config.speaker_shrink, config.pca)
        names = _named(speakers, len(rows))
        if new.mode == "speaker":
            new.speakers = sorted({n for n, used in zip(names, rows.tolist(), strict=True) if used})
            new.speakers = [name for name in new.speakers if name]
        return new, _numbers(names, new.speakers)

    def _fit_one(self, name: str, values: Vectors, groups: Tensor, rows: Tensor | None) -> None:
        """Learns the scaling of a modality from `rows` (r,) of its values, None = all of them."""
        if not len(groups):
            raise ValueError(
                f"no training row has {name}, so it cannot be standardised; give training rows "
                "that have it or leave that modality out"
            )
        dims = values.shape[1]
        mean, variance = torch.zeros(dims).double(), torch.ones(dims).double()
        if self.mode != "none":
            _, means, square = moments(values, torch.zeros_like(groups), 1, rows)
            mean, variance = means[0], square[0] / len(groups)
        own = (torch.zeros(0, dims), torch.ones(0, dims))
        if self.speakers:
            n = len(self.speakers)
            own = per_group(values, groups, n, mean, variance, self.shrink, rows)
        profile = Profile(mean.float(), deviation(mean, variance), *own)
        if self.pca is not None:
            values = values[:] if rows is None else values[rows]
            here = torch.ones(len(values), dtype=torch.bool)
            scaled = self._scale(values, here, profile, groups, *own)
            profile.components, profile.scale = principal(scaled, self.pca)
        self.profiles[name] = profile

    def _groups(self, speakers: Sequence[str | None] | None, n: int) -> tuple[Tensor, int]:
        """Returns each row's speaker (n,), new ones after the known, and how many are new."""
        if self.mode != "speaker":
            return torch.full((n,), -1), 0
        names = _named(speakers, n)
        fresh = sorted({name for name in names if name} - set(self.speakers))
        return _numbers(names, [*self.speakers, *fresh]), len(fresh)

    def _apply_one(
        self,
        name: str,
        value: Vectors,
        here: Tensor,
        groups: Tensor,
        fresh: int,
        in_place: bool = False,
    ) -> Vectors:
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
            some = use.nonzero()[:, 0]
            new = groups[some] - len(means)
            extra = per_group(value, new, fresh, *spread, self.shrink, some)
            means, stds = torch.cat([means, extra[0]]), torch.cat([stds, extra[1]])

        def scaled(part: Tensor, rows: Tensor | slice, room: Tensor | None) -> Tensor:
            found = self._scale(part, here[rows], profile, groups[rows], means, stds, room)
            if profile.components is None:
                return found
            return (found @ profile.components) * profile.scale

        if isinstance(value, MappedVectors):  # what it hands out is a copy already
            return value.scaled(lambda part, rows: scaled(part, rows, part), profile.width)
        value = value[:]
        return scaled(value, slice(None), value if in_place else None)

    def _scale(
        self,
        value: Tensor,
        here: Tensor,
        profile: Profile,
        groups: Tensor,
        means: Tensor,
        stds: Tensor,
        room: Tensor | None = None,
    ) -> Tensor:
        """Returns (n, D) scaled by each row's speaker (-1: the global profile), and clamped.

        Rows that are not `here` become 0. Written into `room` where given: `value` itself may be.
        """
        cut = self.clamp if self.mode != "none" and self.clamp else None
        own = bool(len(means))
        means, stds = torch.cat([means, profile.mean[None]]), torch.cat([stds, profile.std[None]])
        groups = torch.where(groups >= 0, groups, len(means) - 1)
        out = torch.empty_like(value) if room is None else room
        parts = (t.split(BLOCK_ROWS) for t in (value, here, groups, out))
        for given, known, group, part in zip(*parts, strict=True):
            mean, std = (means[group], stds[group]) if own else (profile.mean, profile.std)
            torch.sub(given, mean, out=part).div_(std)
            if cut is not None:
                part.clamp_(-cut, cut)
            if not bool(known.all()):
                part.masked_fill_(~known[:, None], 0.0)
        return out


def _named(speakers: Sequence[str | None] | None, n: int) -> list[str]:
    if speakers is None:
        return [""] * n
    names = ["" if s is None or s != s else str(s) for s in speakers]
    if len(names) != n:
        raise ValueError(
            f"{counted(len(names), 'speaker', 'was', 'were')} given for {counted(n, 'row')}"
        )
    return names


def _numbers(names: Sequence[str], order: Sequence[str]) -> Tensor:
    """Returns each name's place in `order` (n,) int64, -1 where it has none."""
    if not order:
        return torch.full((len(names),), -1)
    place = {name: i for i, name in enumerate(order)}
    return torch.tensor([place.get(name, -1) for name in names], dtype=torch.long)
