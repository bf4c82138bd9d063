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
from typing import Any

import numpy as np

from models.encoders.cost import operations
from models.encoders.padding import cut_long, token_budget
from models.encoders.speech import SAMPLE_RATE, SpeechEncoder

from ...data.audio import load_audio
from ...errors import AudioError, EncoderError
from ...features.progress import Progress
from .settings import Setting

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


def header_seconds(table: Any, wanted: np.ndarray, workers: int) -> np.ndarray:
    """Returns (N,) seconds of the wanted (N,) rows as their headers say, NaN for the others."""
    import soundfile

    def one(row: int) -> float:
        record = table.iloc[row]
        start, end = (float(record[k]) for k in ("start", "end"))
        if not np.isnan(end):
            return max(end - (0.0 if np.isnan(start) else start), 0.0)
        try:
            about = soundfile.info(record["audio"])
        except (RuntimeError, OSError):
            return 1.0  # decoding will say what is wrong, or can read what this cannot
        return max(about.frames / about.samplerate - (0.0 if np.isnan(start) else start), 0.0)

    seconds, rows = np.full(len(table), np.nan), np.flatnonzero(wanted)
    with ThreadPoolExecutor(workers) as pool:
        seconds[rows] = list(pool.map(one, rows.tolist()))
    return seconds


def measure(
    encoder: SpeechEncoder,
    settings: list[Setting],
    table: Any,
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
    others = [encoder.variant(setting.config) for setting in settings]
    budget = 0.0 if encoder.budget == 0 else BATCH_SECONDS
    plan = token_budget([round(s * 1_000) for s in seconds], round(budget * 1_000))
    batches = [np.sort(rows[batch]) for batch in plan[::-1]]  # the shortest first
    took: list[list[np.ndarray]] = [[] for _ in settings]
    vectors: list[list[np.ndarray]] = [[] for _ in settings]
    flops: list[list[float]] = [[] for _ in settings]
    kept: list[int] = []
    lengths: list[float] = []
    unreadable: list[str] = []
    total, done = float(seconds.sum()) * len(settings), 0.0
    with Progress("prune-report", total, "s of sound", show=progress) as bar:
        for turn, sounds in enumerate(_read(table, batches, workers, limits)):
            unreadable += [wave for _, wave in sounds if isinstance(wave, str)]
            here = [(row, wave) for row, wave in sounds if not isinstance(wave, str)]
            if not here:
                continue
            waves = [wave for _, wave in here]
            if not kept:
                for other in others:
                    other.encode(waves)
            kept += [row for row, _ in here]
            lengths += [len(wave) / SAMPLE_RATE for wave in waves]
            share = np.array([len(wave) for wave in waves], float)
            for k in range(len(settings)):
                chosen = (k + turn) % len(settings)
                began = time.perf_counter()
                result = others[chosen].encode(waves)
                passed = time.perf_counter() - began
                took[chosen].append(passed * share / share.sum())
                vectors[chosen].append(result.flatten(1).numpy())
                flops[chosen] += [_operations(encoder, settings[chosen], wave) for wave in waves]
                done += float(share.sum()) / SAMPLE_RATE
                bar.at(done)
        bar.at(total)
    if len(kept) < 2:
        why = f" (first reason: {unreadable[0]})" if unreadable else ""
        raise EncoderError(
            f"prune-report needs two readable sounds or more, found {len(kept)}{why}"
        )
    return Measured(
        vectors=[np.concatenate(parts) for parts in vectors],
        took=np.stack([np.concatenate(parts) for parts in took]),
        flops=np.array(flops),
        seconds=np.array(lengths),
        rows=np.array(kept),
        unreadable=unreadable,
    )


def _operations(encoder: SpeechEncoder, setting: Setting, wave: np.ndarray) -> float:
    longest = min(int(encoder.config.chunk_seconds * SAMPLE_RATE), encoder.backbone.longest)
    pruning = setting.config.pruning if setting.kind == "prune" else None
    return sum(
        operations(encoder.backbone, len(piece), last=setting.last, pruning=pruning)
        for piece in cut_long(wave, longest)
    )


def _read(
    table: Any, batches: list[np.ndarray], workers: int, limits: dict[str, float]
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
