"""The default speech encoder: statistics of the sound, no weights, no downloads, no GPU."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from .acoustic_features import FRAME_RATE, column_names_of, summarise
from .acoustic_frames import Contours, measure
from .base import SAMPLE_RATE
from .config import SpeechConfig

VERSION = 2  # of the feature definition; raised by every change that moves a number


class AcousticEncoder:
    """Turns an utterance into D named acoustic statistics.

    Every sound is measured alone, so a row never depends on its batch mates. Only the columns named
    "level_*" change with the gain of the recording.
    """

    modality = "speech"
    frame_rate = FRAME_RATE  # of encode_frames, in frames a second

    def __init__(self, config: SpeechConfig | None = None) -> None:
        # Layers, pooling and pruning are about networks; here there is nothing to choose.
        if config is not None and config.model != "acoustic":
            raise ValueError(f"AcousticEncoder is the model 'acoustic', got {config.model!r}")
        self.shape = (len(feature_names()),)

    def identity(self) -> dict:
        """Returns everything that changes the numbers."""
        return {"encoder": "acoustic", "version": VERSION, "sample_rate": SAMPLE_RATE}

    def names(self) -> list[str]:
        """Returns the names of the D columns, in order."""
        return list(feature_names())

    @torch.no_grad()
    def encode(self, batch: list[np.ndarray]) -> Tensor:
        """Returns (B, D) float32 for a list of (samples,) sounds at 16 kHz."""
        with one_thread():
            rows = [summarise(_measured(sound, i)) for i, sound in enumerate(batch)]
        return torch.stack(rows) if rows else torch.zeros(0, *self.shape)

    @torch.no_grad()
    def encode_frames(self, batch: list[np.ndarray]) -> list[Tensor]:
        """Returns one (T, K) contour matrix a sound, 100 frames a second between its pauses' ends.

        Columns: 26 log mel bands, 16 cepstra, loudness, spectral shape, voiced (0 or 1), f0 in
        semitones above 27.5 Hz (0 where unvoiced) and voice quality.
        """
        with one_thread():
            return [_stack(_measured(sound, i)) for i, sound in enumerate(batch)]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Runs the block on one OpenMP thread; other threads of the process keep theirs.

    Every tensor here is small: a second thread gains nothing and, on a busy machine, waits in a
    spin (measured on two shared cores: 180x real time with one thread, 10x with two). Not by
    torch.set_num_threads, which changes MKL for the whole process: batched LU factors are wrong
    after it.
    """
    with _pools().limit(limits=1, user_api="openmp"):
        yield


@functools.lru_cache(maxsize=1)
def _pools() -> ThreadpoolController:
    """Returns the thread pools of the process; looking for them takes 10 ms."""
    return ThreadpoolController()


@functools.lru_cache(maxsize=1)
def feature_names() -> tuple[str, ...]:
    """Returns the column names, from the one place that computes the columns."""
    return tuple(column_names_of(measure(torch.zeros(SAMPLE_RATE))))


def _measured(sound: np.ndarray, row: int) -> Contours:
    if not isinstance(sound, (np.ndarray, Sequence, Tensor)):
        return measure(sound)  # samples on a disk, which were checked as they came there
    samples = torch.as_tensor(np.ascontiguousarray(sound, dtype=np.float32))
    if samples.ndim != 1:
        raise ValueError(
            f"sound {row} of the batch has shape {tuple(samples.shape)}; the acoustic encoder "
            "needs mono sound of shape (samples,) at 16 kHz"
        )
    if not bool(torch.isfinite(samples).all()):
        raise ValueError(
            f"sound {row} of the batch holds NaN or infinite samples; repair or drop that file"
        )
    return measure(samples)


def _stack(c: Contours) -> Tensor:
    tone = torch.where(c.voiced, 12 * (c.f0 / 27.5).log2(), 0.0)
    parts = [c.log_mel, c.mfcc, c.loudness[:, None], c.spectral]
    return torch.cat([*parts, torch.stack([c.voiced.float(), tone], 1), c.quality], 1)
