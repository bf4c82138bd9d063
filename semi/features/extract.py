"""Extraction: what the feature store lacks of a manifest is encoded once, by any worker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checksums import refuse_changed
from ..data.audio import Quarantined
from ..errors import EncoderError
from ..formulas import guarded
from ..parallel import EngineConfig
from .config import ExtractionConfig
from .count import Count
from .harvest import finished
from .in_place import count_rows, reads_in_place
from .notes import encoder_notes
from .quarantine import read_quarantine
from .snapshot import Snapshot
from .sources import Limits, RowSource, array_source, audio_source, text_source
from .store import FeatureStore

if TYPE_CHECKING:
    from models.encoders import Encoder

    from .sources import Rows


@dataclass
class Extraction:
    """What an extraction did."""

    modalities: dict[str, Count] = field(default_factory=dict)
    quarantine: list[Quarantined] = field(default_factory=list)  # each utterance, file and reason
    notes: list[str] = field(default_factory=list)  # what an encoder's own files say otherwise
    seconds: float = 0.0
    store: str = ""

    @property
    def done(self) -> int:
        """Rows encoded now, over all modalities."""
        return sum(count.done for count in self.modalities.values())

    @property
    def cached(self) -> int:
        """Rows that were in the store already, over all modalities."""
        return sum(count.cached for count in self.modalities.values())

    def write_quarantine(self, path: str | Path) -> None:
        """Writes the quarantine list as CSV: id, path, reason."""
        import csv
        import io

        from .files import write_whole

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "path", "reason"])
        for q in self.quarantine:
            writer.writerow([guarded(cell) for cell in (q.id, q.path, q.reason)])
        content = text.getvalue().encode("utf-8", "backslashreplace")
        write_whole(Path(path), lambda file: file.write(content))


def extract(config: ExtractionConfig, *, progress: bool = True) -> Extraction:
    """Fills the feature store for the manifest that `config` names, resuming where it stopped.

    Started several times at once (torchrun, a SLURM array, or by hand) the processes share the
    work; each returns when all of it is done.
    """
    from ..data.columns import refuse_unnamed
    from ..data.manifest import load_manifest

    manifest = load_manifest(config.data.manifest, config.data)
    encoders = open_encoders(config)
    for name, encoder in encoders.items():
        if not hasattr(encoder, "read"):  # arrays have a column of their own
            refuse_unnamed(manifest, name)
    extraction = extract_rows(
        manifest.table,
        encoders,
        FeatureStore(config.features.store),
        limits=Limits(config.data.min_seconds, config.data.max_seconds),
        workers=config.data.workers,
        progress=progress,
        compare=config.precision != "fp32",
        engine=EngineConfig(config.engine, config.ray_address, config.processes),
    )
    _check_any(extraction, encoders, config.data.manifest)
    return extraction


def _check_any(extraction: Extraction, encoders: dict[str, Encoder], manifest: str) -> None:
    """Refuses an extraction that found nothing to read: no id of an array matches, for example."""
    arrays: dict[str, Any] = {name: e for name, e in encoders.items() if hasattr(e, "read")}
    for name, encoder in arrays.items():
        if not extraction.modalities[name].rows:
            raise EncoderError(f"encoders.{name}: {encoder.nothing_found()} (table: {manifest})")
    if not any(count.rows for count in extraction.modalities.values()):
        names = " nor ".join(extraction.modalities)
        raise EncoderError(
            f"{manifest}: no row has {names}, so there is nothing to encode; fill the column that "
            f"holds it, or choose other encoders"
        )


def extract_rows(
    table: Rows,
    encoders: dict[str, Encoder],
    store: FeatureStore,
    *,
    limits: Limits | None = None,
    workers: int = 2,
    progress: bool = True,
    compare: bool = False,
    engine: EngineConfig | None = None,
) -> Extraction:
    """Fills the store for the rows of a table; rows without a modality simply lack it.

    `workers` threads decode ahead of the encoder; `engine` says where that is. With `compare` some
    of what is new in 16 or 8 bits is made in float32, too: in 8 bits first, and it may be refused.
    """
    from .eight_bits import refuse_rough
    from .exactness import exactness
    from .fill import Hands, fill
    from .shards import worker_from_environment

    began = time.monotonic()
    worker = worker_from_environment()
    report = Extraction(store=store.place, notes=encoder_notes(encoders))
    show = progress and int(os.environ.get("LOCAL_RANK", worker.rank)) == 0
    limits = limits or Limits()
    sources = make_sources(table, encoders, store, limits=limits, workers=workers)
    hands = Hands(workers, engine or EngineConfig(), worker)
    for name, encoder in encoders.items():
        start = time.monotonic()
        if name not in sources:
            report.modalities[name], lost = count_rows(table, encoder)
            report.quarantine += lost
            continue
        source, shelf = sources[name], store.shelf(name, encoder.identity())
        before = shelf.open().find(source.keys) >= 0
        if worker.world == 1:
            before |= finished(shelf, source.keys, before)
        rough = refuse_rough(encoder, source, shelf, keep=hands.engine.alone) if compare else ""
        snapshot = fill(shelf, source, encoder, hands, progress=show)
        at, reasons = look_up(source, snapshot, read_quarantine(shelf), limits)
        count = _count(source, snapshot, at, before)
        count.quarantined, count.store = len(reasons), f"{store.place}/{shelf.folder.name}"
        count.seconds, new = time.monotonic() - start, np.where(before, -1, at)
        if compare and worker.rank == 0 and (new >= 0).any():
            count.exactness = rough or exactness(encoder, source, snapshot, new, hands)
        report.modalities[name] = count
        report.quarantine += _lost(source, name, reasons)
    report.seconds = time.monotonic() - began
    return report


def _lost(source: RowSource, name: str, reasons: dict[int, str]) -> list[Quarantined]:
    """Returns the rows of a modality that cannot be used, in order."""
    return [Quarantined(source.ids[row], source.paths[row] or f"({name})", reason)
            for row, reason in sorted(reasons.items())]  # fmt: skip


def _count(source: RowSource, snapshot: Snapshot, at: np.ndarray, before: np.ndarray) -> Count:
    """Returns how many rows of a modality there are, were made and were there.

    Args:
        source: the rows.
        snapshot: of the store, now.
        at: (N,) where in it each row is, -1 = it is not usable.
        before: (N,) bool, in the store before the extraction.
    """
    usable = at >= 0
    seconds = snapshot.seconds[at[usable]]
    return Count(
        rows=int((source.keys != b"").sum()) + len(source.problems),
        done=int((usable & ~before).sum()),
        cached=int((usable & before).sum()),
        audio_seconds=float(seconds[~np.isnan(seconds)].sum(dtype=np.float64)),
    )


def make_sources(
    table: Rows,
    encoders: dict[str, Encoder],
    store: FeatureStore,
    *,
    limits: Limits | None = None,
    workers: int = 2,
) -> dict[str, RowSource]:
    """Returns what each encoder reads of the table, with the content key of every row.

    One whose vectors are read from a file of their own has none.
    """
    file_keys = store.file_keys
    sources = {}
    for name, encoder in encoders.items():
        if reads_in_place(encoder):
            continue
        if hasattr(encoder, "read"):
            sources[name] = array_source(table, encoder, file_keys, workers=workers)
        elif encoder.modality == "text":
            sources[name] = text_source(table)
        else:
            sources[name] = audio_source(table, file_keys, limits or Limits(), workers=workers)
    return sources


def look_up(
    source: RowSource, snapshot: Snapshot, quarantine: dict[str, str], limits: Limits
) -> tuple[np.ndarray, dict[int, str]]:
    """Returns each row's position in the store (N,), -1 where it has none, and why it may not.

    A sound of a length that is not accepted today counts as quarantined though it may be stored.
    """
    at = snapshot.find(source.keys)
    reasons = dict(source.problems)
    if source.kind == "audio" and len(snapshot):
        seconds = np.where(at >= 0, snapshot.seconds[at], limits.min_seconds)
        for row in np.flatnonzero(seconds > limits.max_seconds + 1e-3):
            reasons[int(row)] = _length("too long", seconds[row], "max", limits.max_seconds)
        for row in np.flatnonzero(seconds < limits.min_seconds - 1e-3):
            reasons[int(row)] = _length("too short", seconds[row], "min", limits.min_seconds)
        at[list(reasons)] = -1
    for row in np.flatnonzero((at < 0) & (source.keys != b"")):
        reason = quarantine.get(source.keys[row].decode())
        if reason is not None:
            reasons.setdefault(int(row), reason)
    return at, reasons


def _length(word: str, seconds: float, which: str, limit: float) -> str:
    return f"{word}: {seconds:.2f} s, data.{which}_seconds is {limit:g}"


def open_encoders(config: ExtractionConfig) -> dict[str, Encoder]:
    """Returns the encoders that `config.encoders` asks for, by modality; EncoderError otherwise.

    Weights are read when the first row is encoded. Under torchrun `cuda` is this process's GPU.
    """
    from models.encoders import build_array_encoder, build_speech_encoder, build_text_encoder

    device = config.device
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    where = {"device": device, "precision": config.precision}
    given, sections = config.data.manifest, config.encoders  # a table, or a folder read as one
    folder = given if os.path.isdir(given) else os.path.dirname(given)
    root = config.data.audio_root or folder
    builders: dict[str, Callable[[], Encoder | None]] = {
        "speech": lambda: build_speech_encoder(sections.speech, root=root, **where),
        "text": lambda: build_text_encoder(sections.text, root=root, **where),
    }
    for name, section in sections.extra.items():
        builders[name] = lambda name=name, section=section: build_array_encoder(
            section, modality=name, root=root
        )
    encoders: dict[str, Encoder] = {}
    for model in (sections.speech.model, sections.text.model):
        refuse_changed(model)  # a folder that `semi finetune` wrote
    for name, build in builders.items():
        with explained(name):
            encoder = build()
        if encoder is not None:
            encoders[name] = encoder
    if not encoders:
        nothing = "encoders.speech.model and encoders.text.model are both 'none'"
        raise EncoderError(f"No encoder is set: {nothing} and encoders.extra is empty; set one")
    return encoders


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns what an encoder says of itself into EncoderError, which the command line prints."""
    from models.encoders import EncoderUnavailable

    try:
        yield
    except EncoderUnavailable as error:
        raise EncoderError(str(error)) from error
    except ValueError as error:
        raise EncoderError(f"encoders.{name}: {error}") from error
