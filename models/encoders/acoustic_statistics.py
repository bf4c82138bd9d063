"""Statistics of a contour over the chosen frames of an utterance, or of hours of them.

Letters: T frames, K columns, n chosen frames.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .acoustic_windows import HOP
from .base import SAMPLE_RATE

FRAME_RATE = SAMPLE_RATE / HOP  # 100 frames a second
LONG = 60_000  # frames, ten minutes: from here on memory counts more than a call

Named = dict[str, Tensor]


def is_long(contour: Tensor) -> bool:
    """Says that the columns of a contour (T, K) are better taken one by one, for memory."""
    return len(contour) > LONG and contour.shape[1] > 1


def mean(contour: Tensor, where: Tensor) -> Tensor:
    """Returns the mean (K,) over the chosen frames of (T, K); zeros where there are none."""
    if is_long(contour):
        return torch.cat([mean(column, where) for column in contour.split(1, 1)])
    chosen = contour[where]
    return chosen.mean(0) if len(chosen) else contour.new_zeros(contour.shape[1])


def std(contour: Tensor, where: Tensor) -> Tensor:
    """Returns the standard deviation (K,) over the chosen frames; zeros where there are none."""
    if is_long(contour):
        return torch.cat([std(column, where) for column in contour.split(1, 1)])
    chosen = contour[where]
    return chosen.std(0, correction=0) if len(chosen) else contour.new_zeros(contour.shape[1])


def quantile(contour: Tensor, where: Tensor, q: float) -> Tensor:
    """Returns the q quantile (K,) over the chosen frames; zeros where there are none."""
    if is_long(contour):
        return torch.cat([quantile(column, where, q) for column in contour.split(1, 1)])
    chosen = contour[where]
    if not len(chosen):
        return contour.new_zeros(contour.shape[1])
    return _quantile(chosen.sort(0).values, q)


def _quantile(ordered: Tensor, q: float) -> Tensor:
    """Returns the q quantile (K,) of sorted columns (n, K); torch.quantile is far slower."""
    place = q * (len(ordered) - 1)
    low = int(place)
    return torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low)


def spread_of(name: str, contour: Tensor, where: Tensor) -> Named:
    """Returns mean, standard deviation and outer deciles, robust to single wild frames."""
    if is_long(contour):
        parts = [spread_of(name, column, where) for column in contour.split(1, 1)]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    chosen = contour[where]
    if not len(chosen):
        chosen = contour.new_zeros(1, contour.shape[1])
    ordered = chosen.sort(0).values
    return {
        f"{name}_mean": chosen.mean(0),
        f"{name}_std": chosen.std(0, correction=0),
        f"{name}_p10": _quantile(ordered, 0.1),
        f"{name}_p90": _quantile(ordered, 0.9),
    }


def delta(contour: Tensor) -> Tensor:
    """Returns the regression slope over five frames of a contour (T, K), as in HTK."""
    if is_long(contour):
        return torch.cat([delta(column) for column in contour.split(1, 1)], 1)
    padded = pad(contour.T[None], (2, 2), mode="replicate")[0].T
    size = len(contour)
    return (padded[3 : size + 3] - padded[1 : size + 1] + 2 * (padded[4:] - padded[:size])) / 10


def movement(name: str, step: Tensor, where: Tensor) -> Named:
    """Returns size and share of rises and falls of a slope contour (T, 1)."""
    rises, falls = where & (step[:, 0] > 0), where & (step[:, 0] < 0)
    return {
        f"{name}_rise_mean": mean(step, rises),
        f"{name}_rise_std": std(step, rises),
        f"{name}_fall_mean": mean(step, falls),
        f"{name}_fall_std": std(step, falls),
        f"{name}_speed": mean(step.abs(), where),
    }


def trend(contour: Tensor, where: Tensor) -> Tensor:
    """Returns slope and bend (2,) of the chosen frames of (T,) over the utterance, [-1, 1]."""
    time = torch.linspace(-1, 1, len(contour))[where]
    if len(time) < 10:
        return contour.new_zeros(2)
    time = time - time.mean()
    bow = time.square() - time.square().mean()
    value = contour[where] - contour[where].mean()
    return torch.stack(
        [(value * axis).mean() / axis.square().mean().clamp_min(1e-3) for axis in (time, bow)]
    )


def run_lengths(where: Tensor) -> Tensor:
    """Returns the seconds of every run of true frames in (T,) bool."""
    edge = pad(where.float(), (1, 1)).diff()
    return (edge.lt(0).nonzero()[:, 0] - edge.gt(0).nonzero()[:, 0]).float() * HOP / SAMPLE_RATE
