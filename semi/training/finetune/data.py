"""What `semi finetune` learns from: gold training rows, drawn alike for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...config.schema import Config
from ...data.audio import load_audio
from ...data.audio_decoders import SAMPLE_RATE
from ...data.reviewed import Reviewed
from ...errors import AudioError, ManifestError
from ..rows import read_rows

if TYPE_CHECKING:
    import pandas as pd

# Stands for what is missing, so that every process runs every encoder; its loss weighs 0.
NOTHING = {"speech": np.zeros(SAMPLE_RATE // 2, np.float32), "text": ""}


@dataclass
class GoldRows:
    """The rows that may be learned from, and those that only tell how it goes."""

    table: pd.DataFrame  # the manifest's
    sha256: str  # of the manifest
    classes: list[str]
    target: np.ndarray  # (N, C) float32
    label: np.ndarray  # (N,) int
    present: dict[str, np.ndarray]  # modality -> (N,) bool: a path or a text is there
    train: np.ndarray  # (n,) rows, never a dev or test row, never a hidden label
    watch: np.ndarray  # rows of one out-of-fold part, of other speakers than `train`
    notes: list[str] = field(default_factory=list)
    reviewed: Reviewed | None = None  # what people said of single rows, where data.reviews names it

    @property
    def ids(self) -> list[str]:
        """The utterances that are learned from."""
        return self.table["id"].iloc[self.train].astype(str).tolist()


@dataclass
class FinetuneBatch:
    """One process's share of a batch."""

    rows: np.ndarray  # (B / W,)
    inputs: dict[str, list]  # modality -> sounds or texts, None where missing


def gold_rows(config: Config, modalities: list[str]) -> GoldRows:
    """Returns the gold training rows of the manifest; the same splits as `semi train` makes."""
    manifest, splits = read_rows(config)
    present = {
        name: manifest.table[column].notna().to_numpy()
        for name, column in (("speech", "audio"), ("text", "text"))
        if name in modalities
    }
    usable = (splits.role == "labeled") & np.any(list(present.values()), axis=0)
    if not usable.any():
        raise ManifestError(
            f"{manifest.path}: no labelled training row has {' or '.join(modalities)} to learn from"
        )
    watched = usable & (splits.fold == splits.folds - 1) if config.finetune.watch else ~usable
    watched &= usable
    train = np.flatnonzero(usable & ~watched)
    if not len(train):
        raise ManifestError(
            f"{manifest.path}: finetune.watch leaves no row to learn from; set finetune.watch=false"
        )
    return GoldRows(
        manifest.table,
        manifest.sha256,
        list(manifest.classes),
        splits.target,
        splits.label,
        present,
        train,
        np.flatnonzero(watched),
        splits.notes,
        manifest.reviewed,
    )


def drawn(train: np.ndarray, position: int, count: int, seed: int) -> np.ndarray:
    """Returns `count` rows from `position` on of an endless row of shuffled passes over `train`."""
    places = np.arange(position, position + count)
    passes, inside = np.divmod(places, len(train))
    order = {e: np.random.default_rng([seed, 7, e]).permutation(train) for e in set(passes)}
    return np.array([order[e][i] for e, i in zip(passes, inside, strict=True)])


class RowReader:
    """Reads sounds and texts; a file that cannot be read counts as missing, once said."""

    def __init__(self, rows: GoldRows, config: Config) -> None:
        self.rows, self.config = rows, config
        self.unreadable: dict[int, str] = {}

    def one(self, modality: str, row: int, cut: list[int] | None = None) -> Any:
        """Returns one input, None where it is missing; `cut` seeds where a long sound is cut."""
        if not self.rows.present[modality][row] or (
            modality == "speech" and row in self.unreadable
        ):
            return None
        record = self.rows.table.iloc[row]
        if modality == "text":
            return str(record["text"])
        data = self.config.data
        start, end = (None if np.isnan(record[k]) else record[k] for k in ("start", "end"))
        limits = {"min_seconds": data.min_seconds, "max_seconds": data.max_seconds}
        try:
            wave = load_audio(record["audio"], start=start, end=end, **limits)
        except AudioError as error:
            self.unreadable[row] = str(error)
            return None
        longest = int(self.config.finetune.max_seconds * SAMPLE_RATE)
        if cut is not None and len(wave) > longest:
            first = np.random.default_rng([*cut, row]).integers(len(wave) - longest + 1)
            wave = wave[first : first + longest]
        return wave

    def inputs(self, rows: np.ndarray, cut: list[int] | None = None) -> dict[str, list]:
        """Returns each modality's inputs of some rows, None where missing."""
        return {m: [self.one(m, int(r), cut) for r in rows] for m in self.rows.present}


def batches(
    reader: RowReader, config: Config, first: int, *, rank: int, world: int
) -> Iterator[FinetuneBatch]:
    """Yields the batches from number `first` on, read ahead by threads.

    All processes together see the same batches whatever their number.
    """
    about, rows = config.finetune, reader.rows
    total = about.steps * about.accumulate

    def read(number: int) -> FinetuneBatch:
        chosen = drawn(rows.train, number * about.batch, about.batch, config.seed)
        mine = chosen[rank::world]
        return FinetuneBatch(mine, reader.inputs(mine, [config.seed, 8, number]))

    with ThreadPoolExecutor(config.data.workers) as pool:
        ahead: list[Future[FinetuneBatch]] = []
        number = first
        while number < total or ahead:
            while number < total and len(ahead) < 2 * config.data.workers:
                ahead.append(pool.submit(read, number))
                number += 1
            yield ahead.pop(0).result()
