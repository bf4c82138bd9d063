"""How `SelfTrainingEstimator` checks a table of numbers and turns it into what its models see.

Letters: N rows, D columns, k components of a view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.fusion.linear import coordinates

from .data.wording import counted
from .features.moments import moments
from .features.principal import is_sketched
from .training.projection import AXES_ROWS, principal_start

NARROW = 32  # views of fewer columns get anchors
ANCHORS = (1.0, -1.0) * 4  # constant columns: without them the model's layer norm would see only
# the direction of a row and not its length, which of few columns is most of what there is
FLAT = 1e-12  # a column whose deviation is below this share of its mean is left unscaled
CLAMP = 5.0
CACHED = 2**21  # numbers scaled at once: they stay in the cache


@dataclass
class ColumnScaling:
    """Scaling and views of a table's columns, learned in `fit`.

    Linear models see a view's principal components. They are found here, a few rows of the table
    at a time, so that no scaled copy of all of it is ever laid out.
    """

    widths: dict[str, int]  # of the views, which are consecutive groups of columns
    mean: Tensor  # (D,) float64
    std: Tensor  # (D,) float64
    clamp: bool  # cut what is scaled at CLAMP deviations
    anchors: bool  # narrow views get ANCHORS
    axes: dict[str, Tensor] = field(default_factory=dict)  # see `principal_start`; none: no axes

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        views: dict[str, int] | None,
        standardize: bool,
        components: int | None,
        device: str,
    ) -> ColumnScaling:
        """Returns what (N, D) numbers teach; `components` of each view, None = all columns."""
        count, dims = X.shape
        if views is not None and not isinstance(views, Mapping):
            raise ValueError(f"views must be a dict of name: number of columns, got {views!r}")
        widths = {"x": dims} if views is None else dict(views)
        whole = all(
            isinstance(w, (int, np.integer)) and not isinstance(w, bool) and w > 0
            for w in widths.values()
        )
        if not whole or sum(widths.values()) != dims:
            given = ", ".join(f"{name}: {width}" for name, width in widths.items())
            raise ValueError(
                f"views must be widths that add up to the {counted(dims, 'column')} of X, got "
                f"{{{given}}}"
            )
        mean, std = torch.zeros(dims).double(), torch.ones(dims).double()
        if standardize:
            together = torch.zeros(count, dtype=torch.long)
            _, means, square = moments(torch.from_numpy(X), together, 1)
            mean, std = means[0], (square[0] / count).sqrt()
            std = torch.where(std <= FLAT * mean.abs(), 1.0, std)
        new = cls(widths, mean, std, standardize, components is None)
        if components is not None:
            rows = np.arange(count)
            if all(is_sketched(count, width, components) for width in widths.values()):
                order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
                rows = np.sort(order[:AXES_ROWS].numpy())
            few = new._joined(X[rows], torch.float32, device)
            present = torch.ones(len(rows), len(widths), dtype=torch.bool, device=device)
            every = torch.arange(len(rows), device=device)
            new.axes = principal_start(new._views(few), present, every, components)
        return new

    def values(self, X: np.ndarray, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
        """Returns view -> (N, k) components, or (N, D_v) scaled columns, narrow ones anchored."""
        if not self.axes:
            views = self._views(self._joined(X, dtype, device))
            return {name: self._anchored(part) for name, part in views.items()}
        axes = {name: value.to(device, dtype) for name, value in self.axes.items()}
        parts = []
        for scaled in self._scaled(X, dtype):
            present = torch.ones(len(scaled), len(self.widths), dtype=torch.bool, device=device)
            parts.append(coordinates(self._views(scaled.to(device)), present, axes))
        return {name: torch.cat([part[name] for part in parts]) for name in self.widths}

    def _joined(self, X: np.ndarray, dtype: torch.dtype, device: str) -> Tensor:
        """Returns all rows scaled (N, D)."""
        out = torch.empty(X.shape, dtype=dtype)
        start = 0
        for scaled in self._scaled(X, dtype):
            out[start : start + len(scaled)] = scaled
            start += len(scaled)
        return out.to(device)

    def _scaled(self, X: np.ndarray, dtype: torch.dtype) -> Iterator[Tensor]:
        """Yields a few scaled rows after the other; each is gone when the next one comes."""
        x = torch.from_numpy(X)
        exact = torch.promote_types(x.dtype, dtype)
        mean, std = self.mean.to(exact), self.std.to(exact)
        rows = max(1, CACHED // x.shape[1])
        room = torch.empty(min(rows, len(x)), x.shape[1], dtype=exact)
        for given in x.split(rows):
            scaled = torch.sub(given, mean, out=room[: len(given)]).div_(std)
            if self.clamp:
                scaled.clamp_(-CLAMP, CLAMP)
            yield scaled.to(dtype)

    def _views(self, scaled: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.widths, scaled.split(list(self.widths.values()), 1), strict=True))

    def _anchored(self, part: Tensor) -> Tensor:
        if part.shape[1] >= NARROW or not self.anchors:
            return part
        return torch.cat([part, part.new_tensor(ANCHORS).expand(len(part), -1)], 1)


def plain(table: Any) -> Any:
    """Returns a tensor as an array; everything else as it is."""
    return table.detach().cpu().numpy() if isinstance(table, torch.Tensor) else table


def validated(estimator: Any, X: Any, y: Any, *, reset: bool) -> Any:
    """Returns X (N, D), float32 where it came so, else float64, and y (N,); scikit-learn checks."""
    kind = {"dtype": [np.float64, np.float32], "order": "C", "reset": reset}
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn < 1.6
        check = estimator._validate_data
    else:

        def check(*args, **words):
            return validate_data(estimator, *args, **words)

    return check(X, y, **kind) if reset else (check(X, **kind), None)


def grouped(groups: Any, rows: int) -> np.ndarray:
    """Returns each row's group as text (N,); without groups every row is one of its own."""
    if groups is None:
        return np.array([str(i) for i in range(rows)])
    given = np.asarray(plain(groups))
    if given.shape != (rows,):
        raise ValueError(
            f"groups must have one entry for each of the {counted(rows, 'row')} of X, got shape "
            f"{given.shape}"
        )
    return given.astype(str)
