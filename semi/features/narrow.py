"""Some layers of what one encoder's pass gave, as if only these had been asked for."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from .merge import Shard, merge
from .quarantine import failures_of
from .store import FeatureStore

ITEMS = 20_000  # copied at a time


@runtime_checkable
class Layered(Protocol):
    """What is read of an encoder of several layers."""

    modality: str
    layers: list[int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one utterance's result."""
        ...

    def identity(self) -> dict[str, Any]:
        """Returns everything that changes the numbers."""
        ...


def keep_layers(store: FeatureStore, whole: Layered, part: Layered) -> None:
    """Copies the layers that `part` is set to, from the shelf of `whole` to one of their own.

    Nothing is encoded. Items that are there already stay, so doing it twice changes nothing.

    Args:
        store: the feature store.
        whole: the encoder with its layers kept apart (combine: views).
        part: the same with fewer layers, joined or one alone.
    """
    source = store.shelf(whole.modality, whole.identity())
    target = store.shelf(part.modality, part.identity())
    snapshot = source.open()
    if source.folder == target.folder or snapshot.data is None:
        return
    places = [whole.layers.index(layer) for layer in part.layers]
    with target.locked():
        target.describe()
        lacking = np.flatnonzero(target.open().find(snapshot.keys) < 0)
        for number, start in enumerate(range(0, max(len(lacking), 1), ITEMS)):
            at = lacking[start : start + ITEMS]
            rows = snapshot.rows(at)[:, places]  # (n, l, D)
            rows = rows if len(part.shape) > 1 else rows[:, 0]
            failures = [] if number else failures_of(source)
            shard = Shard(snapshot.keys[at], snapshot.seconds[at], rows, None, failures)
            path = target.folder / "layers.npz"
            shard.save(path)
            try:
                merge(target, [path])
            finally:
                path.unlink(missing_ok=True)
