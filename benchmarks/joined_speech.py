"""Long utterances with true labels, made of real short ones; no program of its own."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

RATE = 16_000


def join(frame: pd.DataFrame, seconds: float, a_cell: int) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Returns a table of joined utterances and their samples (S,), S = seconds x 16,000.

    Those of one speaker with one label, a cell, are laid end to end in a random order, again in
    another order where they are too few, and cut at `seconds`: labels stay true, lengths are exact,
    but the sounds are joined, not natural. `distinct` is how many seconds of a row are not
    repeated; cells in which it would be less than a third are left out.

    Args:
        frame: columns corpus, speaker, label and path, of 16 kHz mono files.
        seconds: length of every utterance.
        a_cell: utterances made of each cell.
    """
    rows, waves, wanted = [], [], int(seconds * RATE)
    random = np.random.default_rng(7)
    for (corpus, speaker, label), cell in frame.groupby(["corpus", "speaker", "label"], sort=True):  # pyright: ignore[reportGeneralTypeIssues]
        sounds = [read(path) for path in cell.path]
        distinct = min(sum(map(len, sounds)) / RATE, seconds)
        if 3 * distinct < seconds:
            continue
        orders = (random.permutation(len(sounds)) for _ in itertools.count())
        queue = itertools.chain.from_iterable(orders)
        for _ in range(a_cell):
            parts: list[np.ndarray] = []
            while sum(map(len, parts)) < wanted:
                parts.append(sounds[next(queue)])
            waves.append(np.concatenate(parts)[:wanted])
            rows.append((corpus, speaker, label, seconds, distinct))
    columns = ["corpus", "speaker", "label", "seconds", "distinct"]
    return pd.DataFrame(rows, columns=columns), waves


def read(path: str) -> np.ndarray:
    """Returns the samples (S,) of a 16 kHz mono file, float32."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or samples.ndim != 1:
        raise SystemExit(f"{path}: expected 16 kHz mono")
    return samples
