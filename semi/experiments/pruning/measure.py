"""Runs a sample of the user's own sounds through the encoder in every setting, turn by turn.

Letters: N utterances, S settings, D features.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.encoders.base import SAMPLE_RATE
from models.encoders.cost import operations
from models.encoders.padding import cut_long, token_budget
from models.encoders.speech import SpeechEncoder

from ...data.audio import load_audio
from ...errors import AudioError, EncoderError
from ...features.progress import Progress
from .settings import Setting

if TYPE_CHECKING:
    import pandas as pd

BATCH_SECONDS = 120.0  # of a batch on a GPU; on a CPU rows run one by one anyway


@dataclass
class Measured:
    """What every setting did to every utterance."""

    vectors: list[np.ndarray]  # per setting (N, D_s)
    took: np.ndarray  # (S, N) seconds; a batch's time is shared out by length
    flops: np.ndarray  # (S, N)
    seconds: np.ndarray  # (N,) length of each utterance
    rows: np.ndarray  # (N,) row of the manifest, sorted by length
    unreadable: list[str]  # why others were left out


def sample(seconds: np.ndarray, first: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns up to `count` rows, spread evenly over the lengths; rows of `first` (N,) bool first.

    Every place in the order of length is as likely as any other, so the sample has the shape of
    the whole.
    """
    random = np.random.default_rng([seed, 11])
    chosen: list[int] = []
    for group in (np.flatnonzero(first), np.flatnonzero(~first)):
        wanted = min(count - len(chosen), len(group))
        if wanted <= 0:
            continue
        order = group[np.argsort(seconds[group], kind="stable")]
        edges = np.linspace(0, len(order), wanted + 1).astype(int)
        picks = [random.integers(a, b) for a, b in itertools.pairwise(edges)]
        chosen += order[picks].tolist()
    return np.array(chosen, np.int64)


def header_seconds(table: pd.DataFrame, wanted: np.ndarray, workers: int) -> np.ndarray:
    """Returns (N,) seconds of the wanted (N,) rows as their headers say, NaN for the others."""
    from ...data.audio import header_seconds as seconds_of

    def one(row: int) -> float:
        record = table.iloc[row]
        start, end = (float(record[k]) for k in ("start", "end"))
        begin = 0.0 if np.isnan(start) else start
        return max((seconds_of(record["audio"]) if np.isnan(end) else end) - begin, 0.0)

    seconds, rows = np.full(len(table), np.nan), np.flatnonzero(wanted)
    with ThreadPoolExecutor(workers) as pool:
        seconds[rows] = list(pool.map(one, rows.tolist()))
    return seconds


def measure(
    encoder: SpeechEncoder,
    settings: list[Setting],
    table: pd.DataFrame,
    rows: np.ndarray,
    seconds: np.ndarray,
    *,
    workers: int,
    limits: dict[str, float],
    progress: bool,
) -> Measured:
    """Returns vectors, times and operations; each batch goes through all settings in turn.

    The order of the settings turns from batch to batch, so what else the machine does falls on all
    of them alike, and the first batch runs once unmeasured.

    Args:
        encoder: of the user's settings.
        settings: S of them.
        table: the manifest's.
        rows: (N,) rows to run.
        seconds: (N,) their lengths as the headers say.
        workers: threads that read ahead.
        limits: min_seconds and max_seconds.
        progress: show it.
    """
    variants = [encoder.variant(setting.config) for setting in settings]
    budget = 0.0 if encoder.budget == 0 else BATCH_SECONDS
    plan = token_budget([round(s * 1_000) for s in seconds], round(budget * 1_000))
    batches = [np.sort(rows[batch]) for batch in plan[::-1]]  # the shortest first
    timings = _Timings(encoder, settings, variants)
    total, done = float(seconds.sum()) * len(settings), 0.0
    with Progress("prune-report", total, "s of sound", show=progress) as bar:
        for turn, sounds in enumerate(_read(table, batches, workers, limits)):
            timings.unreadable += [wave for _, wave in sounds if isinstance(wave, str)]
            readable = [(row, wave) for row, wave in sounds if not isinstance(wave, str)]
            if not readable:
                continue
            rows_read, waves = [row for row, _ in readable], [wave for _, wave in readable]
            for passed in timings.run(turn, rows_read, waves):
                done += passed
                bar.at(done)
        bar.at(total)
    return timings.measured()


class _Timings:
    """What the settings did to the batches so far."""

    def __init__(
        self, encoder: SpeechEncoder, settings: list[Setting], variants: list[SpeechEncoder]
    ) -> None:
        self.encoder, self.settings, self.variants = encoder, settings, variants
        self.took: list[list[np.ndarray]] = [[] for _ in settings]
        self.vectors: list[list[np.ndarray]] = [[] for _ in settings]
        self.flops: list[list[float]] = [[] for _ in settings]
        self.rows: list[int] = []
        self.lengths: list[float] = []
        self.unreadable: list[str] = []

    def run(self, turn: int, rows: list[int], waves: list[np.ndarray]) -> Iterator[float]:
        """Runs one batch through all settings; yields the seconds of sound of each of them."""
        if not self.rows:
            for variant in self.variants:
                variant.encode(waves)
        self.rows += rows
        self.lengths += [len(wave) / SAMPLE_RATE for wave in waves]
        samples = np.array([len(wave) for wave in waves], float)
        for k in range(len(self.settings)):
            chosen = (k + turn) % len(self.settings)
            setting = self.settings[chosen]
            began = time.perf_counter()
            result = self.variants[chosen].encode(waves)
            passed = time.perf_counter() - began
            self.took[chosen].append(passed * samples / samples.sum())
            self.vectors[chosen].append(result.flatten(1).numpy())
            self.flops[chosen] += [_operations(self.encoder, setting, wave) for wave in waves]
            yield float(samples.sum()) / SAMPLE_RATE

    def measured(self) -> Measured:
        """Returns everything as arrays; EncoderError where fewer than two sounds were readable."""
        if len(self.rows) < 2:
            why = f" (first reason: {self.unreadable[0]})" if self.unreadable else ""
            raise EncoderError(
                f"prune-report needs two readable sounds or more, found {len(self.rows)}{why}"
            )
        return Measured(
            vectors=[np.concatenate(parts) for parts in self.vectors],
            took=np.stack([np.concatenate(parts) for parts in self.took]),
            flops=np.array(self.flops),
            seconds=np.array(self.lengths),
            rows=np.array(self.rows),
            unreadable=self.unreadable,
        )


def _operations(encoder: SpeechEncoder, setting: Setting, wave: np.ndarray) -> float:
    longest = min(int(encoder.config.chunk_seconds * SAMPLE_RATE), encoder.backbone.longest)
    pruning = setting.config.pruning if setting.kind == "prune" else None
    return sum(
        operations(encoder.backbone, len(piece), last=setting.last, pruning=pruning)
        for piece in cut_long(wave, longest)
    )


def _read(
    table: pd.DataFrame, batches: list[np.ndarray], workers: int, limits: dict[str, float]
) -> Iterator[list[tuple[int, np.ndarray | str]]]:
    """Yields batches of rows with their sounds, or why they have none, read ahead by threads."""

    def load(row: int) -> np.ndarray | str:
        record = table.iloc[row]
        start, end = (None if np.isnan(record[k]) else float(record[k]) for k in ("start", "end"))
        try:
            return load_audio(record["audio"], start=start, end=end, **limits)
        except AudioError as error:
            return f"{record['id']}: {error}"

    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        coming = iter(batches)
        while True:
            while len(ahead) < 4 and (batch := next(coming, None)) is not None:
                ahead.append([(int(row), pool.submit(load, int(row))) for row in batch])
            if not ahead:
                return
            yield [(row, future.result()) for row, future in ahead.popleft()]
