"""A run's model and encoders, loaded once, that label some utterances together in memory.

What `semi predict` writes into a feature store and reads back is handed over directly here. On the
disk are, while a request lasts, uploads of more than a megabyte (Starlette's temporary files) and
the vectors of models of sequences. A row's answer does not depend on the rows beside it.

Letters: B rows, D width of a modality.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AudioError, RunError
from ..evaluation.multitask import AFFECT

if TYPE_CHECKING:
    import pandas as pd

    from models.encoders import Encoder

    from ..features.tensors import Features

# seconds of sound, characters of text
ENCODED_TOGETHER = {"audio": 30.0, "text": 10_000.0}
PAUSE = b"\x00\x20" * 4_000 + b"\x00\xe0" * 4_000  # half a second of 16 bits, for the first call


@dataclass
class Utterance:
    """What is to be labelled; at least one of the three."""

    sound: bytes | None = None  # what a sound file holds
    text: str | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)  # modality -> (D,) float32


Answer = dict[str, Any]  # label, confidence, probabilities, votes, valence, arousal, reason


class RunLabeller:
    """A run's model, ready to answer.

    Expected usage:

        labeller = RunLabeller("runs/demo")
        labeller.warm_up()
        labeller.label([Utterance(sound=open("a.wav", "rb").read(), text="...")])
    """

    def __init__(self, run: str | Path) -> None:
        """Loads the model and opens its encoders; RunError or EncoderError where that fails."""
        from ..runs.predict import load

        self.predictor = load(run)
        self.model = self.predictor.model
        self.name = Path(run).resolve().name
        profiles = self.model.standardizer.profiles
        self.widths = {m: len(profiles[m].mean) for m in self.model.ensemble.dims}
        self.encoders = self._open()
        self.frames = self.model.config.encoders.keeps_frames
        self.decoding = ThreadPoolExecutor(max(1, self.model.config.data.workers))
        # what may be sent as numbers: all that no encoder here makes
        made = {name.partition(".")[0] for name in self.encoders}
        self.sendable = {
            m: width for m, width in self.widths.items()
            if m.partition(".")[0] not in made and not self.frames
        }  # fmt: skip
        if self.frames and len(self.encoders) < len(self.model.identities):
            raise RunError(
                f"{run} reads sequences of precomputed frames, which cannot be sent; label them "
                "with semi predict RUN --manifest"
            )

    def _open(self) -> dict[str, Encoder]:
        """Returns the encoders of sounds and texts; arrays are sent, not looked up by an id."""
        from ..features.extract import open_encoders

        config = self.model.config
        sections, changed = config.encoders, {"extra": {}}
        for name in ("speech", "text"):
            section = getattr(sections, name)
            if section.model == "precomputed" or name not in self.model.identities:
                changed[name] = replace(section, model="none")
        left = replace(sections, **changed)
        if left.speech.model == left.text.model == "none":
            return {}
        opened = open_encoders(replace(config, encoders=left))
        return {name: e for name, e in opened.items() if name in self.model.identities}

    def reads(self) -> dict[str, bool]:
        """Returns whether the model reads sound, and text."""
        return {"sound": "speech" in self.encoders, "text": "text" in self.encoders}

    def warm_up(self) -> None:
        """Reads the encoders' weights, and refuses others than the model was trained with."""
        import io

        import soundfile

        from ..self_training.model_dir import same_encoder

        out = io.BytesIO()
        wave = np.frombuffer(PAUSE, dtype="<i2")
        soundfile.write(out, np.tile(wave, 4), 16_000, format="WAV", subtype="PCM_16")
        self.label([Utterance(sound=out.getvalue(), text="so")])
        for name, encoder in self.encoders.items():
            same_encoder(name, self.model.identities[name], encoder.identity())

    def label(self, rows: Sequence[Utterance]) -> list[Answer]:
        """Returns the answer to each of B rows; `reason` says why one has none, or lacks an input.

        EncoderError where an encoder itself fails.
        """
        table, notes = _table_of(rows), {}
        if self.frames:
            with tempfile.TemporaryDirectory(prefix="semi-") as store:
                features, notes = self.predictor.features(table, store, encoders=self.encoders)
        else:
            features = self._features(rows, notes)
        answers: Any = self.predictor.answer(features, table, notes)
        columns = {name: list(answers[name]) for name in answers}
        return [self._answer(columns, k) for k in range(len(rows))]

    def _features(self, rows: Sequence[Utterance], notes: dict[str, str]) -> Features:
        """Returns the standardised features (B rows); writes into `notes` what cannot be read."""
        import torch

        from ..features.table import by_modality
        from ..features.tensors import Features

        values = {m: torch.zeros(len(rows), width) for m, width in self.widths.items()}
        present = torch.zeros(len(rows), len(values), dtype=torch.bool)
        order = list(values)
        for k, row in enumerate(rows):
            for m, vector in row.vectors.items():
                values[m][k] = torch.from_numpy(vector)
                present[k, order.index(m)] = True
        for name, encoder in self.encoders.items():
            places, made = self._encoded(name, encoder, rows, notes)
            if not places:
                continue
            for m, value in by_modality(name, encoder, torch.from_numpy(np.stack(made))).items():
                values[m][places] = value
                present[places, order.index(m)] = True
        return self.model.standardizer.apply(Features(values, present, order))

    def _encoded(
        self, name: str, encoder: Encoder, rows: Sequence[Utterance], notes: dict[str, str]
    ) -> tuple[list[int], list[np.ndarray]]:
        """Returns the places of the rows that an encoder can read, and what it makes of each."""
        from ..features.encode import encode

        audio = encoder.modality != "text"
        inputs = self._sounds(rows, notes) if audio else _texts(rows)
        places: list[int] = []
        made: list[np.ndarray] = []
        per = 16_000.0 if audio else 1.0
        for part in _parts(inputs, per, ENCODED_TOGETHER["audio" if audio else "text"]):
            results = encode(encoder, [inputs[k] for k in part])
            for k, result in zip(part, results, strict=True):
                if isinstance(result, str):
                    _add(notes, k, result)
                else:
                    places.append(k)
                    made.append(result)
        return places, made

    def _sounds(self, rows: Sequence[Utterance], notes: dict[str, str]) -> dict[int, Any]:
        """Returns place -> decoded sound; the reasons why others cannot be read go to `notes`."""
        from ..data.audio import load_audio

        data = self.model.config.data

        def load(sound: bytes) -> Any:
            try:
                return load_audio(sound, min_seconds=data.min_seconds, max_seconds=data.max_seconds)
            except AudioError as error:
                return str(error)

        given = {k: row.sound for k, row in enumerate(rows) if row.sound is not None}
        found: dict[int, Any] = {}
        for k, sound in zip(given, self.decoding.map(load, given.values()), strict=True):
            if not isinstance(sound, str):
                found[k] = sound
                continue
            if "data.max_seconds" in sound:  # a setting of training: nobody can set it here
                sound = f"too long: this model takes sounds of up to {data.max_seconds:g} s"
            elif "data.min_seconds" in sound:
                sound = f"too short: this model takes sounds from {data.min_seconds:g} s on"
            _add(notes, k, sound)
        return found

    def _answer(self, columns: dict[str, list], k: int) -> Answer:
        """Returns a row of answers as JSON knows it: no NaN, None for what is missing."""
        label, answer = columns.get("label", [None] * (k + 1))[k], {}
        answer["label"] = label if isinstance(label, str) else None
        answer["confidence"] = _number(columns, "confidence", k)
        shares = {c: _number(columns, f"p_{c}", k) for c in self.model.classes}
        answer["probabilities"] = {c: p for c, p in shares.items() if p is not None}
        answer["votes"] = {
            name: {"label": columns[f"{name}_label"][k],
                   "confidence": _number(columns, f"{name}_confidence", k)}
            for name in self.model.voter.heads
            if isinstance(columns.get(f"{name}_label", [None] * (k + 1))[k], str)
        }  # fmt: skip
        answer |= {a: _number(columns, a, k) for a in AFFECT if a in columns}
        answer["reason"] = columns["note"][k] or None
        return answer


def labelled(answer: Answer) -> bool:
    """Says whether a row has an answer: a label, or valence or arousal."""
    return answer["label"] is not None or any(answer.get(a) is not None for a in AFFECT)


def _table_of(rows: Sequence[Utterance]) -> pd.DataFrame:
    """Returns the rows as the model's table of answers takes them."""
    import pandas as pd

    from ..data.waveforms import Waveform

    names = [str(k) for k in range(len(rows))]
    sounds = [
        None if r.sound is None else Waveform(k, r.sound) for k, r in zip(names, rows, strict=True)
    ]
    texts = [r.text for r in rows]
    columns = {"id": names, "audio": sounds, "text": texts}
    return pd.DataFrame({name: pd.Series(c, dtype=object) for name, c in columns.items()})


def _texts(rows: Sequence[Utterance]) -> dict[int, str]:
    """Returns place -> text; a blank one counts as missing."""
    return {k: row.text for k, row in enumerate(rows) if row.text and row.text.strip()}


def _parts(inputs: dict[int, Any], unit: float, most: float) -> Iterator[list[int]]:
    """Yields places of inputs that are together at most so long; one alone may be longer."""
    part: list[int] = []
    size = 0.0
    for k, item in inputs.items():
        length = len(item) / unit
        if part and size + length > most:
            yield part
            part, size = [], 0.0
        part.append(k)
        size += length
    if part:
        yield part


def _add(notes: dict[str, str], k: int, reason: str) -> None:
    notes[str(k)] = "; ".join(filter(None, [notes.get(str(k)), reason]))


def _number(columns: dict[str, list], name: str, k: int) -> float | None:
    if name not in columns:
        return None
    value = columns[name][k]
    return None if value is None or math.isnan(value) else float(value)
