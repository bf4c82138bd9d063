"""A long table labelled part by part: memory holds the vectors and answers of one part."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .new_arrays import read_from

if TYPE_CHECKING:
    from models.encoders import Encoder

    from ..features.sources import Rows
    from ..features.store import FeatureStore
    from .predict import Predictor

PART = 50_000  # rows answered at once


def labelled_parts(
    predictor: Predictor, table: Rows, store: str | Path | None,
    arrays: Mapping[str, str | Path], *, progress: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yields the answers to the rows of a table in their order, at most PART at once.

    What is missing in the store is extracted first, of all rows. Where a new speaker's numbers come
    from all rows of that speaker (`features.standardize: speaker`), all rows are one part.

    Args:
        predictor: the model.
        table: of utterances.
        store: folder of the feature store; None = a temporary one.
        arrays: modality -> file, in place of what the model was trained on.
        progress: a bar while features are extracted.
    """
    from ..features.store import FeatureStore

    read_from(predictor.model.config.encoders, arrays)
    with ExitStack() as stack:
        if store is None:
            # a stored feature is found again by its content, so a temporary store is only slow
            store = stack.enter_context(tempfile.TemporaryDirectory(prefix="semi-"))
        shelves, encoders = FeatureStore(store), predictor.encoders()
        count = len(table["id"])
        size = max(count, 1) if predictor.model.standardizer.mode == "speaker" else PART
        if count > size:  # at once: a store is written anew when something is added to it
            _extract(predictor, table, encoders, shelves, progress)
        for start in range(0, max(count, 1), size):
            rows = _cut(table, slice(start, start + size))
            features, notes = predictor.features(
                rows, shelves, encoders=encoders, progress=progress
            )
            yield predictor.answer(features, rows, notes)


def joined(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Returns the columns of all parts of a table."""
    first, *others = parts
    if not others:
        return first
    return {
        name: np.concatenate([value, *(part[name] for part in others)])
        if isinstance(value, np.ndarray)
        else [cell for part in (first, *others) for cell in part[name]]
        for name, value in first.items()
    }


def _cut(table: Rows, part: slice) -> Rows:
    if isinstance(table, Mapping):
        return {name: column[part] for name, column in table.items()}
    return table.iloc[part]


def _extract(
    predictor: Predictor, table: Rows, encoders: dict[str, Encoder], store: FeatureStore,
    progress: bool,
) -> None:  # fmt: skip
    from ..features.extract import extract_rows
    from ..features.sources import Limits

    data = predictor.model.config.data
    limits = Limits(data.min_seconds, data.max_seconds)
    extract_rows(table, encoders, store, limits=limits, workers=data.workers,
                 progress=progress)  # fmt: skip
