"""From a table of utterances to raw features: what the store lacks is extracted, the rest read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..parallel import EngineConfig
from .extract import Extraction, extract_rows
from .sources import Limits
from .store import FeatureStore
from .table import load_features, load_frames
from .tensors import Features, Frames

if TYPE_CHECKING:
    from models.encoders import Encoder

    from .sources import Rows


@dataclass
class RawFeatures:
    """What the encoders make of N rows, not yet standardised: vectors or frames."""

    extraction: Extraction  # what was encoded, found or quarantined
    vectors: Features | None = None  # None where frames are kept, or nothing could be read
    frames: dict[str, Frames] = field(default_factory=dict)


def read_features(
    table: Rows, encoders: dict[str, Encoder], store: str | Path, limits: Limits, *,
    workers: int = 2, frames: bool = False, some: bool = False, progress: bool = False,
    engine: EngineConfig | None = None, compare: bool = False,
) -> RawFeatures:  # fmt: skip
    """Returns the raw features of every row of a table.

    Args:
        table: of utterances.
        encoders: modality -> encoder.
        store: folder of the feature store, which is filled.
        limits: of the length of sounds.
        workers: threads that read audio.
        frames: keep sequences, for models of sequences.
        some: a modality that no row has is left out; else it is a StoreError.
        progress: bars on stderr.
        engine: where what is missing is encoded; None = in this process.
        compare: what is encoded in fewer than 32 bits with float32; see `extract_rows`.
    """
    shelf = FeatureStore(store)
    extraction = extract_rows(
        table, encoders, shelf, limits=limits, workers=workers, progress=progress, engine=engine,
        compare=compare,
    )  # fmt: skip
    if some:
        counts = extraction.modalities
        encoders = {n: e for n, e in encoders.items() if counts[n].done + counts[n].cached}
    if not encoders:
        return RawFeatures(extraction)
    if frames:
        packed = load_frames(table, encoders, shelf, limits=limits, workers=workers)
        return RawFeatures(extraction, frames=packed)
    vectors = load_features(table, encoders, shelf, limits=limits, workers=workers)
    return RawFeatures(extraction, vectors)
