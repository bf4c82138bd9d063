"""What one utterance costs: time of the model alone, and from the file to the label.

Runs are timed by turns, so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config.schema import keeps_frames
from ..errors import SemiError
from ..self_training.model_dir import Model, load_model, same_encoder

REPEATS = 15
UTTERANCES = 5
WARM = 2  # calls that are not counted


@dataclass
class Cost:
    """Size and speed of a run's model at batch 1; None where it could not be measured."""

    head_parameters: int  # of all chains and members together
    encoder_parameters: int | None  # None where an encoder reads stored arrays
    model_ms: float  # features -> label, median
    end_to_end_ms: float | None  # file and text -> label, median over utterances; encoders warm
    note: str = ""

    @property
    def parameters(self) -> int | None:
        """Parameters that a prediction runs through."""
        extra = self.encoder_parameters
        return None if extra is None else self.head_parameters + extra


def threads() -> int:
    """Returns the CPU threads PyTorch computes with."""
    return torch.get_num_threads()


def measure(runs: list[str], tables: list[Any], *, repeats: int = REPEATS) -> list[Cost]:
    """Returns the cost of each run, timed by turns on the CPU.

    Args:
        runs: folders of finished runs.
        tables: per run the manifest rows to go through from the file on; None = model alone.
        repeats: rounds of turns.
    """
    models = [load_model(run) for run in runs]
    alone = [_alone(model) for model in models]
    model_ms = _by_turns(alone, repeats)
    whole, notes, sizes = [], [], []
    for model, table in zip(models, tables, strict=True):
        call, size, note = _end_to_end(model, table)
        whole.append(call)
        sizes.append(size)
        notes.append(note)
    end_ms = _by_turns(whole, max(3, repeats // 3))
    return [
        Cost(sum(p.numel() for p in m.ensemble.params.values()), size, a or 0.0, e, note)
        for m, size, a, e, note in zip(models, sizes, model_ms, end_ms, notes, strict=True)
    ]


def _by_turns(calls: Sequence[Callable[[], int] | None], repeats: int) -> list[float | None]:
    """Returns the median milliseconds per utterance; a call returns how many it did."""
    seen: list[list[float]] = [[] for _ in calls]
    for turn in range(WARM + repeats):
        for mine, call in zip(seen, calls, strict=True):
            if call is None:
                continue
            begin = time.perf_counter()
            count = call()
            if turn >= WARM:
                mine.append(1000 * (time.perf_counter() - begin) / count)
    return [float(np.median(s)) if s else None for s in seen]


def _alone(model: Model) -> Callable[[], int]:
    from ..self_training.teacher import answer

    dims, frames = model.ensemble.dims, keeps_frames(model.config.encoders)
    shape = (1, model.config.features.max_frames) if frames else (1,)  # as long as they may be
    values = {m: torch.zeros(*shape, d) for m, d in dims.items()}
    present = torch.ones(1, len(dims), dtype=torch.bool)

    def call() -> int:
        answer(model.ensemble, model.voter, values, present, model.chains)
        return 1

    return call


def _end_to_end(model: Model, table: Any) -> tuple[Callable[[], int] | None, int | None, str]:
    """Returns a call that labels the table's rows one by one, encoder size, and why if neither."""
    from ..features.encode import wants_frames
    from ..features.extract import open_encoders
    from ..features.keys import FileKeys
    from ..features.sequences import sequences
    from ..features.sources import Limits, audio_source, text_source
    from ..features.table import _views
    from ..features.tensors import Features, Frames
    from ..self_training.teacher import answer

    stored = [name for name, said in model.identities.items() if _stored(model, name)]
    if stored:
        return None, None, f"{', '.join(stored)} is read from stored arrays: no encoder to time"
    if table is None or not len(table):
        return None, None, "no utterance to time"
    try:
        every = open_encoders(model.config)
        encoders = {n: e for n, e in every.items() if n in model.identities}
        for name, encoder in encoders.items():
            same_encoder(name, model.identities[name], encoder.identity())
    except SemiError as error:
        return None, None, f"not timed from the file on: {error}"
    data = model.config.data
    limits = Limits(data.min_seconds, data.max_seconds)
    sources = {
        n: text_source(table) if e.modality == "text"
        else audio_source(table, FileKeys(), limits)
        for n, e in encoders.items()
    }  # fmt: skip
    dims, speakers = model.ensemble.dims, table["speaker"].tolist() if "speaker" in table else None
    sequence = keeps_frames(model.config.encoders)

    def of_frames(row: int) -> None:
        packed: dict[str, Frames] = {}
        for name, encoder in encoders.items():
            here = sources[name].keys[row] != b""
            rows = torch.zeros(0, dims[name])
            if here:
                data = [sources[name].load(row)]
                whole = wants_frames(encoder)
                frames: Any = encoder  # `encode_frames` is no part of every encoder
                rows = frames.encode_frames(data)[0] if whole else encoder.encode(data)
            offsets = torch.tensor([0, len(rows)])
            for view, value in _views(name, encoder, rows.float()).items():
                packed[view] = Frames(value, offsets, torch.tensor([here]))
        speaker = None if speakers is None else [speakers[row]]
        scaled = model.standardizer.apply_frames(packed, speaker)
        ready = sequences(scaled, model.config.features.max_frames)
        answer(model.ensemble, model.voter, ready.values, ready.present, model.chains)

    def one(row: int) -> None:
        if sequence:
            of_frames(row)
            return
        values: dict[str, torch.Tensor] = {}
        for name, encoder in encoders.items():
            if sources[name].keys[row] == b"":
                continue
            coded = encoder.encode([sources[name].load(row)])
            values |= _views(name, encoder, coded)
        present = torch.tensor([[m in values for m in dims]])
        width = {m: len(p.mean) for m, p in model.standardizer.profiles.items()}
        full = {m: values.get(m, torch.zeros(1, width[m])) for m in dims}
        ready = model.standardizer.apply(
            Features(full, present, list(dims)), None if speakers is None else [speakers[row]]
        )
        answer(model.ensemble, model.voter, ready.values, ready.present, model.chains)

    def call() -> int:
        for row in range(len(table)):
            one(row)
        return len(table)

    try:
        call()  # weights are read at the first call
    except (SemiError, OSError, RuntimeError) as error:
        return None, None, f"not timed from the file on: {' '.join(str(error).split())[:200]}"
    return call, sum(_size(e) for e in encoders.values()), ""


def _stored(model: Model, name: str) -> bool:
    sections = model.config.encoders
    return name in sections.extra or getattr(sections, name).model == "precomputed"


def _size(encoder: Any) -> int:
    """Returns the parameters of an encoder's network; 0 where it has none (fixed formulas)."""
    seen: set[int] = set()
    total = 0
    for value in _inside(encoder, 3):
        if id(value) not in seen:
            seen.add(id(value))
            total += sum(p.numel() for p in value.parameters())
    return total


def _inside(thing: Any, depth: int) -> list[torch.nn.Module]:
    if isinstance(thing, torch.nn.Module):
        return [thing]
    if not depth or not hasattr(thing, "__dict__"):
        return []
    return [m for v in vars(thing).values() for m in _inside(v, depth - 1)]


def timed_rows(table: Any, rows: np.ndarray) -> Any:
    """Returns up to a handful of the rows whose files are there, evenly spread; None if none."""
    here = [r for r in rows if _there(table, r)]
    if not here:
        return None
    pick = np.unique(np.linspace(0, len(here) - 1, UTTERANCES).round().astype(int))
    return table.iloc[[here[i] for i in pick]].reset_index(drop=True)


def _there(table: Any, row: int) -> bool:
    audio, text = table["audio"].iloc[row], table["text"].iloc[row]
    if isinstance(audio, str) and audio.strip():
        return Path(audio).is_file()
    return isinstance(text, str) and bool(text.strip())
