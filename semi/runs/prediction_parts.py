"""A long table labelled part by part, here, in processes or on Ray.

Memory holds the vectors and answers of one part; elsewhere each worker that of its own, and the
command a few answers a worker, which it puts in order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SemiError, WorkerLost
from ..parallel import EngineConfig, run_cells
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
    engine: EngineConfig | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yields the answers to the rows of a table in their order, at most PART at once.

    What is missing in the store is extracted first, of all rows. Where a new speaker's numbers come
    from all rows of that speaker (`features.standardize: speaker`), all rows are one part, and one
    part is answered by this process.

    Args:
        predictor: the model.
        table: of utterances.
        store: folder of the feature store; None = a temporary one.
        arrays: modality -> file, in place of what the model was trained on.
        progress: a bar while features are extracted.
        engine: where shards are extracted and parts answered; None = by this process.
    """
    from ..features.store import FeatureStore

    engine = engine or EngineConfig()
    read_from(predictor.model.config.encoders, arrays)
    with ExitStack() as stack:
        stack.enter_context(_begun_anew(kept=store is not None))
        if store is None:
            # a stored feature is found again by its content, so a temporary store is only slow;
            # what all workers of a cluster see is the folder of the command, not the system's
            home = None if engine.engine == "local" else "."
            store = stack.enter_context(tempfile.TemporaryDirectory(prefix=".semi-", dir=home))
            store = str(Path(store).absolute())
        shelves, encoders = FeatureStore(store), predictor.encoders()
        count = len(table["id"])
        size = max(count, 1) if predictor.model.standardizer.mode == "speaker" else PART
        several = count > size
        if several or not engine.alone:  # at once: what is added to a store writes it anew
            _extract(predictor, table, encoders, shelves, progress, engine)
        parts = (_cut(table, slice(start, start + size)) for start in range(0, max(count, 1), size))
        if engine.alone or not several:
            work = _Answers(predictor, shelves, encoders, progress)
            yield from map(work, parts)
        else:
            work = _Answers(predictor, store)
            for _, answers in run_cells(engine, work, parts, ordered=True):
                yield answers


@contextmanager
def _begun_anew(kept: bool) -> Iterator[None]:
    """Says what a lost worker costs here: answers are in memory until the last one is there."""
    try:
        yield
    except WorkerLost as lost:
        what = "vectors in the store are kept, answers are not" if kept else "nothing is kept"
        message = f"{lost.fault}; {what}: the same command begins anew{lost.advice}"
        raise SemiError(message) from lost


@dataclass
class _Answers:
    """Answers a part of a table; sent to a worker it opens store and encoders there, once."""

    predictor: Predictor
    store: str | Path | FeatureStore
    encoders: dict[str, Encoder] | None = None
    progress: bool = False

    def __call__(self, rows: Rows) -> dict[str, Any]:
        """Returns the columns of answers to a part."""
        if self.encoders is None:
            from ..features.store import FeatureStore

            self.encoders = self.predictor.encoders()
            if not isinstance(self.store, FeatureStore):
                self.store = FeatureStore(self.store)
        features, notes = self.predictor.features(
            rows, self.store, encoders=self.encoders, progress=self.progress
        )
        return self.predictor.answer(features, rows, notes)


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
    progress: bool, engine: EngineConfig,
) -> None:  # fmt: skip
    from ..features.extract import extract_rows
    from ..features.sources import Limits

    data = predictor.model.config.data
    limits = Limits(data.min_seconds, data.max_seconds)
    extract_rows(table, encoders, store, limits=limits, workers=data.workers,
                 progress=progress, engine=engine)  # fmt: skip
