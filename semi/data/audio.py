"""Any audio file -> 16 kHz mono float32, or an AudioError that says why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError
from .audio_decoders import SoundReader
from .audio_opening import SoundSource, os_reason, read_with
from .wording import counted, listed, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from .audio_mixdown import Mixdown
    from .config import DataConfig
    from .long_sound import LongSound
    from .manifest import Manifest

BYTES_PER_SECOND = 32_000  # a guess at the length of a sound whose header cannot be read


@dataclass
class Quarantined:
    """An utterance that cannot be used, and why."""

    id: str
    path: str
    reason: str


def unusable_lines(quarantine: Sequence[Quarantined], most: int) -> list[str]:
    """Returns "PATH: reason" of unusable utterances, those of one file and reason in one line.

    No more than `most` lines, and one that says how many utterances are left.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for item in quarantine:
        groups.setdefault((item.path, item.reason), []).append(shown(item.id, 40))
    lines = []
    for (path, reason), ids in list(groups.items())[:most]:
        where = shown(path, 160) or ids[0]
        rows = f" ({counted(len(ids), 'row')}: {listed(ids, 3)})" if len(ids) > 1 else ""
        lines.append(f"{where}: {reason}{rows}")
    left = sum(len(ids) for ids in list(groups.values())[most:])
    return lines + [f"... and {left:,} more"] * bool(left)


@dataclass
class Span:
    """Which seconds of a file are used, and what length is accepted."""

    start: float | None = None
    end: float | None = None
    min_seconds: float = 0.1
    max_seconds: float = 120.0


def load_audio(
    path: SoundSource,
    *,
    start: float | None = None,
    end: float | None = None,
    min_seconds: float = 0.1,
    max_seconds: float = 120.0,
) -> np.ndarray:
    """Returns (samples,) float32 at 16 kHz, mono, in [-1, 1], of a file or its start..end seconds.

    `path` is a file, or the bytes of one. The duration is checked before anything is decoded.
    Raises AudioError, its message the reason: missing, empty, unreadable, cut short, silent, not
    finite, not a sound, too short or too long.
    """
    import numpy as np

    span = Span(seconds_or_none(start), seconds_or_none(end), min_seconds, max_seconds)
    return np.asarray(load_sound(path, span))


def load_sound(source: SoundSource, span: Span) -> np.ndarray | LongSound:
    """Returns what `load_audio` does; a sound of more than five minutes stays on the disk.

    It is decoded, mixed down and resampled in blocks, so memory does not grow with its length.
    """
    mix, channel = read_with(source, lambda reader: _mixed(reader, span, None))
    if channel is not None:  # the channels cancel out: the loudest of them alone
        mix, _ = read_with(source, lambda reader: _mixed(reader, span, channel))
    return mix.result()


def audio_sha256(path: str | Path, *, start: float | None = None, end: float | None = None) -> str:
    """Returns the SHA-256 of the file's bytes, and of the span where only start..end is used."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AudioError(os_reason(error)) from None
    start, end = seconds_or_none(start), seconds_or_none(end)
    if start is not None or end is not None:
        digest.update(f"|{start}|{end}".encode())
    return digest.hexdigest()


def check_audio(
    manifest: Manifest, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> list[Quarantined]:
    """Returns the utterances whose file already shows, undecoded, that they cannot be used.

    Headers are read and frames counted, so silence and NaN come to light at extraction only.
    `progress` is called with (done, total).
    """
    table = manifest.table
    rows = [
        row
        for row in zip(table["id"], table["audio"], table["start"], table["end"], strict=True)
        if row[1] is not None
    ]

    def check(row: tuple) -> Quarantined | None:
        name, path, start, end = row
        limits = (config.min_seconds, config.max_seconds)
        span = Span(seconds_or_none(start), seconds_or_none(end), *limits)
        try:
            read_with(path, lambda reader: frames_of(reader, span))
        except AudioError as error:
            return Quarantined(str(name), str(path), str(error))
        return None

    bad = []
    with ThreadPoolExecutor(config.workers) as pool:
        for done, found in enumerate(pool.map(check, rows), 1):
            if found is not None:
                bad.append(found)
            if progress is not None:
                progress(done, len(rows))
    return bad


def header_seconds(path: str | Path) -> float:
    """Returns about how long a file is, for plans and bars; decoding will say what is wrong."""
    try:
        seconds = read_with(path, _seconds_of)
        return Path(path).stat().st_size / BYTES_PER_SECOND if seconds is None else seconds
    except AudioError:
        try:
            return Path(path).stat().st_size / BYTES_PER_SECOND
        except OSError:
            return 0.0


def row_seconds(table: pd.DataFrame, most: int | None = None) -> np.ndarray:
    """Returns the length (N,) of each row's sound in seconds, NaN where none is known.

    As its columns say (seconds, else end - start), else the file's header.

    Args:
        table: N rows with the columns of a manifest.
        most: headers that are worth reading; where there are more, none is. None = any number.
    """
    import numpy as np

    columns = ("seconds", "start", "end")
    seconds, start, end = (table[name].to_numpy(dtype=float) for name in columns)
    found = np.where(np.isnan(seconds), end - np.nan_to_num(start), seconds)
    audio = table["audio"].tolist()
    unknown = [i for i in np.flatnonzero(np.isnan(found)).tolist() if isinstance(audio[i], str)]
    for row in unknown if most is None or len(unknown) <= most else ():
        length = header_seconds(audio[row]) - float(np.nan_to_num(start[row]))
        found[row] = length if length > 0 else float("nan")  # 0: the file is gone
    return found


def _seconds_of(reader: SoundReader) -> float | None:
    if reader.frames is None:
        return getattr(reader, "seconds", None)
    return reader.frames / reader.rate


def seconds_or_none(value: float | None) -> float | None:
    """Returns a number of seconds, None for None and NaN."""
    return None if value is None or value != value else float(value)


def frames_of(reader: SoundReader, span: Span) -> tuple[int, int | None]:
    """Returns the first frame of a span and the one after its last, None for an unknown end.

    AudioError where it is empty, too short or too long, as far as the header knows.
    """
    start, end = span.start or 0.0, span.end
    if reader.frames is None:
        known = getattr(reader, "seconds", None) if end is None else end
        if known is not None and known - start > span.max_seconds:
            check_length(known - start, span)
        return round(start * reader.rate), None if end is None else round(end * reader.rate)
    frames, rate = reader.frames, reader.rate
    if frames <= 0:
        raise AudioError("empty: the file holds no samples")
    first = min(frames, round(start * rate))
    last = frames if end is None else min(frames, round(end * rate))
    if last <= first:
        raise AudioError(
            f"empty: start {start:g} s to end {'' if end is None else f'{end:g} s '}lies "
            f"outside the file of {frames / rate:.2f} s"
        )
    check_length((last - first) / rate, span)
    return first, last


def check_length(seconds: float, span: Span) -> None:
    """Raises AudioError for a length that is not accepted."""
    if seconds > span.max_seconds:
        raise AudioError(f"too long: {seconds:.1f} s, data.max_seconds is {span.max_seconds:g}")
    if seconds < span.min_seconds:
        raise AudioError(f"too short: {seconds:.3f} s, data.min_seconds is {span.min_seconds:g}")


def _mixed(reader: SoundReader, span: Span, channel: int | None) -> tuple[Mixdown, int | None]:
    """Returns the sound read in blocks, and the channel to keep alone where all cancel out."""
    from .audio_mixdown import Mixdown

    first, last = frames_of(reader, span)
    mix = Mixdown(reader.rate, channel, first)
    for block in reader.blocks(first, last):
        mix.add(block)
        if last is None and mix.frames > span.max_seconds * reader.rate:
            raise AudioError(f"too long: more than data.max_seconds, {span.max_seconds:g} s")
    if not mix.frames:
        outside = f": the file ends before start {span.start:g} s" if span.start else ""
        raise AudioError("empty" + (outside or ": the file holds no samples"))
    check_length(mix.frames / reader.rate, span)
    return mix, mix.loudest() if channel is None else None
