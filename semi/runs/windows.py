"""Labels along a long recording: windows of equal length, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AudioError, ManifestError, SemiError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.encoders import Encoder

    from ..data.audio_opening import SoundSource
    from ..features.sources import Rows
    from ..features.tensors import Features
    from ..self_training.model_dir import Model

TOGETHER = 600.0  # seconds of windows that are encoded at a time


class Labeller(Protocol):
    """What a window is labelled by; `semi.runs.predict.Predictor` is one."""

    model: Model

    def encoders(self) -> dict[str, Encoder]:
        """Returns the encoders of the model, opened."""
        ...

    def features(
        self, table: Rows, store: str, *, encoders: dict[str, Encoder]
    ) -> tuple[Features, dict[str, str]]:
        """Returns the features of N rows, and per id what could not be read."""
        ...

    def answer(self, features: Features, table: Rows, notes: dict[str, str]) -> dict[str, Any]:
        """Returns the columns of answers."""
        ...


@dataclass
class Window:
    """A part of a recording, in seconds."""

    path: str
    start: float
    end: float
    sound: np.ndarray | None = None  # (S,) at 16 kHz; None where it cannot be used
    note: str = ""  # why not


def label_windows(
    predictor: Labeller, audio: Any, *, seconds: float, hop: float | None, progress: bool
) -> pd.DataFrame:
    """Returns what `Predictor.predict_windows` promises."""
    import pandas as pd

    from ..data.waveforms import as_sounds, is_one_sound

    hop = seconds / 2 if hop is None else hop
    _check(predictor, seconds, hop)
    try:
        sounds = as_sounds([audio] if is_one_sound(audio) else list(audio))
    except AudioError as error:
        raise ManifestError(str(error)) from None
    if not sounds or None in sounds:
        raise ManifestError("windows need a recording: give one or more files, or arrays")
    tables = []
    with tempfile.TemporaryDirectory(prefix="semi-") as store:
        encoders = predictor.encoders()
        batch: list[Window] = []
        for window in _all(predictor, sounds, (seconds, hop), progress):
            batch.append(window)
            if len(batch) * seconds >= TOGETHER:
                tables.append(_answered(predictor, batch, store, encoders))
                batch = []
        if batch:
            tables.append(_answered(predictor, batch, store, encoders))
    return pd.concat(tables, ignore_index=True)


def windows_of(
    source: SoundSource, name: str, seconds: float, hop: float, shortest: float
) -> Iterator[Window]:
    """Yields the windows of one recording; a last one without times says what cannot be read.

    Windows start every `hop` seconds. Where the sound goes on behind the last that fits, one more
    takes the rest of it, if that is `shortest` seconds or longer. No more than one window is held.
    """
    from ..data.audio_opening import open_audio

    try:
        with closing(open_audio(source)) as reader:
            cuts = ((k * hop, k * hop + seconds) for k in range(1 << 62))
            for first, last, frames in _slices(reader, cuts):
                start, end = first / reader.rate, last / reader.rate
                if end - start >= shortest or not first:
                    yield _window(name, start, end, frames, reader.rate)
    except AudioError as error:
        yield Window(name, float("nan"), float("nan"), note=str(error))


def _slices(reader: Any, cuts: Iterator) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (first frame, frame after the last, frames (n, channels)) of spans in seconds."""
    import numpy as np

    held: list[np.ndarray] = []
    begin = end = 0  # of what is held
    covered = -1
    first, last = (round(t * reader.rate) for t in next(cuts))
    for block in reader.blocks(0, None):
        held.append(block)
        end += len(block)
        if end < last:
            continue
        frames = np.concatenate(held)
        while end >= last:
            yield first, last, frames[first - begin : last - begin]
            covered = last
            first, last = (round(t * reader.rate) for t in next(cuts))
        drop = min(max(first - begin, 0), len(frames))
        held, begin = [frames[drop:].copy()], begin + drop
    if not end:
        raise AudioError("empty: the file holds no samples")
    if covered < end and first < end:
        yield first, end, np.concatenate(held)[first - begin :]


def _window(name: str, start: float, end: float, frames: np.ndarray, rate: int) -> Window:
    """Returns a window mixed down to 16 kHz, or with the reason why it cannot be used."""
    import numpy as np

    from ..data.audio import Span, load_sound
    from ..data.waveforms import Waveform

    try:
        span = Span(min_seconds=0.0, max_seconds=float("inf"))
        sound = np.asarray(load_sound(Waveform(name, frames, rate), span))
    except AudioError as error:
        return Window(name, start, end, note=str(error))
    return Window(name, start, end, sound)


def _check(predictor: Labeller, seconds: float, hop: float) -> None:
    data = predictor.model.config.data
    if "speech" not in predictor.model.identities:
        reads = " and ".join(predictor.model.identities)
        raise SemiError(f"windows need a model that reads speech; this one reads {reads}")
    if not data.min_seconds <= seconds <= data.max_seconds:
        raise SemiError(
            f"windows must be {data.min_seconds:g} to {data.max_seconds:g} s long, what this model "
            f"was trained on; got {seconds:g}"
        )
    if not 0 < hop < float("inf"):
        raise SemiError(f"the hop from window to window must be above 0 s, got {hop:g}")


def _all(
    predictor: Labeller, sounds: list, cut: tuple[float, float], progress: bool
) -> Iterator[Window]:
    """Yields the windows of every recording, and shows how far they are."""
    from ..data.audio import header_seconds
    from ..data.waveforms import Waveform
    from ..features.progress import Progress

    shortest = predictor.model.config.data.min_seconds
    lengths = [s.seconds if isinstance(s, Waveform) else header_seconds(s) for s in sounds]
    done = 0.0
    with Progress("windows", sum(lengths), "s of sound", show=progress) as bar:
        for sound, length in zip(sounds, lengths, strict=True):
            name = sound.name if isinstance(sound, Waveform) else str(sound)
            for window in windows_of(sound, name, *cut, shortest):
                yield window
                if window.end == window.end:
                    bar.at(done + min(window.end, length))
            done += length
            bar.at(done)


def _answered(predictor: Labeller, batch: list[Window], store: str, encoders: dict) -> pd.DataFrame:
    """Returns the answers to some windows: path, start, end, then the columns of `predict`."""
    import pandas as pd

    from ..data.audio_decoders import SAMPLE_RATE
    from ..data.waveforms import Waveform

    sounds = [
        None if w.sound is None else Waveform(w.path, w.sound[:, None], SAMPLE_RATE) for w in batch
    ]
    table = {"id": [str(k) for k in range(len(batch))], "audio": sounds}
    features, notes = predictor.features(table, store, encoders=encoders)
    notes |= {str(k): window.note for k, window in enumerate(batch) if window.note}
    answers = predictor.answer(features, table, notes)
    places = {
        "path": [w.path for w in batch],
        "start": [round(w.start, 3) for w in batch],
        "end": [round(w.end, 3) for w in batch],
    }
    return pd.DataFrame({**places, **{name: x for name, x in answers.items() if name != "id"}})
