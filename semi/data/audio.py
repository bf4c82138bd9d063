"""Any audio file -> 16 kHz mono float32, or an AudioError that says why not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from .config import DataConfig
    from .manifest import Manifest

SAMPLE_RATE = 16_000
PIPED = 0x7F000000  # a WAV length from here on stands for an unknown one
SILENCE = 1e-4  # peak, -80 dB of full scale: three steps of 16 bits
READABLE = "wav, flac, mp3, ogg, opus, aiff, au"


@dataclass
class Quarantined:
    """An utterance that cannot be used, and why."""

    id: str
    path: str
    reason: str


def load_audio(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    min_seconds: float = 0.1,
    max_seconds: float = 120.0,
) -> np.ndarray:
    """Returns (samples,) float32 at 16 kHz, mono, in [-1, 1], of a file or its start..end seconds.

    The duration is checked before anything is decoded. Raises AudioError, its message the reason:
    missing, empty, unreadable, silent, not finite, too short or too long.
    """
    import numpy as np

    start, end = _seconds(start), _seconds(end)
    kind = _check_file(path)
    read = _read_av if kind == "av" else _read_soundfile
    samples, rate = read(path, start, end, min_seconds, max_seconds)  # (frames, channels)
    if len(samples) == 0:
        raise AudioError("empty: the file holds no samples")
    _check_length(len(samples) / rate, min_seconds, max_seconds)
    if not np.isfinite(samples).all():
        raise AudioError("not finite: the samples hold NaN or infinity")
    mono = _mono(samples)
    if rate != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")  # band-limited
    peak = float(np.abs(samples).max())
    if peak > 1.0:  # float files may exceed full scale; their shape is kept
        mono = mono / peak
    return np.clip(mono, -1.0, 1.0).astype(np.float32)


def audio_sha256(path: str | Path, *, start: float | None = None, end: float | None = None) -> str:
    """Returns the SHA-256 of the file's bytes, and of the span where only start..end is used."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AudioError(_os_reason(error)) from None
    start, end = _seconds(start), _seconds(end)
    if start is not None or end is not None:
        digest.update(f"|{start}|{end}".encode())
    return digest.hexdigest()


def check_audio(
    manifest: Manifest, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> list[Quarantined]:
    """Returns the utterances whose file header already shows that they cannot be used.

    Fast: nothing is decoded, so silence and NaN come to light at extraction only. `progress` is
    called with (done, total).
    """
    table = manifest.table
    rows = [
        row
        for row in zip(table["id"], table["audio"], table["start"], table["end"], strict=True)
        if row[1] is not None
    ]

    def check(row: tuple) -> Quarantined | None:
        name, path, start, end = row
        try:
            kind = _check_file(path)
            if kind == "soundfile":
                with _open(path) as file:
                    _span(file.frames, file.samplerate, _seconds(start), _seconds(end), config)
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


def _seconds(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing: no such file"
    return f"unreadable: {error.strerror or error}"


def _check_file(path: str | Path) -> str:
    """Returns which library reads the file ("soundfile" or "av"), by its first bytes."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(16)
    except OSError as error:
        raise AudioError(_os_reason(error)) from None
    if not head:
        raise AudioError("empty: the file has 0 bytes")
    mp4 = head[4:8] == b"ftyp"
    webm = head[:4] == b"\x1a\x45\xdf\xa3"
    aac = head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0  # ADTS; MP3 has layer bits
    wma = head[:4] == b"\x30\x26\xb2\x75"
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return "av" if mp4 or webm or aac or wma or avi else "soundfile"


def _open(path: str | Path):
    import soundfile

    try:
        _check_whole(path)
        return soundfile.SoundFile(os.fspath(path))
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        detail = str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
        raise AudioError(f"unreadable: {detail} (readable are {READABLE})") from None


def _check_length(seconds: float, minimum: float, maximum: float) -> None:
    if seconds > maximum:
        raise AudioError(f"too long: {seconds:.1f} s, data.max_seconds is {maximum:g}")
    if seconds < minimum:
        raise AudioError(f"too short: {seconds:.3f} s, data.min_seconds is {minimum:g}")


def _check_whole(path: str | Path) -> None:
    """Raises AudioError for a WAV file that ends before what its header promises.

    libsndfile reads such a file as a shorter sound. Writers into a pipe, which cannot know the
    length, put a number near 2 or 4 GB; that promises nothing.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            length, at = int.from_bytes(chunk[4:], "little"), file.tell()
            if chunk[:4] == b"data":
                there = size - at
                if there < 0.99 * length and length < PIPED:
                    raise AudioError(f"unreadable: truncated, {there} of {length} bytes are there")
                return
            file.seek(length + length % 2, os.SEEK_CUR)


def _span(frames: int, rate: int, start: float | None, end: float | None, limits) -> tuple:
    """Returns (first frame, number of frames) of start..end after checking its length."""
    if frames <= 0:
        raise AudioError("empty: the file holds no samples")
    first = min(frames, round((start or 0.0) * rate))
    last = frames if end is None else min(frames, round(end * rate))
    if last <= first:
        raise AudioError(
            f"empty: start {start or 0:g} s to end {'' if end is None else f'{end:g} s '}lies "
            f"outside the file of {frames / rate:.2f} s"
        )
    _check_length((last - first) / rate, limits.min_seconds, limits.max_seconds)
    return first, last - first


@dataclass
class _Limits:
    min_seconds: float
    max_seconds: float


def _read_soundfile(path, start, end, min_seconds, max_seconds) -> tuple[np.ndarray, int]:
    import soundfile

    with _open(path) as file:
        limits = _Limits(min_seconds, max_seconds)
        first, count = _span(file.frames, file.samplerate, start, end, limits)
        try:
            if first:
                file.seek(first)
            samples = file.read(count, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            detail = str(error).rstrip(".")
            raise AudioError(f"unreadable: damaged while decoding ({detail})") from None
        return samples, file.samplerate


def _read_av(path, start, end, min_seconds, max_seconds) -> tuple[np.ndarray, int]:
    """Decodes what libsndfile cannot (m4a, aac, webm ...) through PyAV, if it is installed."""
    import numpy as np

    try:
        import av  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise AudioError(
            "unreadable: m4a, mp4, aac, avi, webm and wma need PyAV; pip install "
            "'semi-emotion[m4a]', or convert the file to wav or flac"
        ) from None
    try:
        with av.open(str(path), "r") as container:
            if not container.streams.audio:
                raise AudioError("unreadable: the file holds no audio stream")
            stream = container.streams.audio[0]
            if container.duration and start is None and end is None:
                _check_length(container.duration / 1e6, min_seconds, max_seconds)
            to_float = av.AudioResampler(format="fltp")  # keeps rate and channels
            blocks, frames, rate = [], 0, 0
            for decoded in container.decode(stream):
                rate = decoded.sample_rate  # of the sound itself; a header may say half of it
                for frame in to_float.resample(decoded):
                    blocks.append(frame.to_ndarray().T)  # (frames, channels)
                    frames += len(blocks[-1])
                if end is None and frames > ((start or 0.0) + max_seconds) * rate:
                    raise AudioError(f"too long: more than data.max_seconds, {max_seconds:g} s")
                if end is not None and frames >= end * rate:
                    break
    except AudioError:
        raise
    except Exception as error:  # PyAV raises one class for each error code of FFmpeg
        raise AudioError(f"unreadable: {error}") from None
    if not blocks:
        raise AudioError("empty: the file holds no samples")
    samples = np.concatenate(blocks).astype(np.float32)
    first, count = _span(len(samples), rate, start, end, _Limits(min_seconds, max_seconds))
    return samples[first : first + count], rate


def _mono(samples: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels (frames,), or the loudest one where they cancel out."""
    import numpy as np

    mono = samples.mean(axis=1)
    if _swing(mono) >= SILENCE:
        return mono
    loudest = samples[:, int(np.argmax(np.abs(samples - samples.mean(axis=0)).max(axis=0)))]
    if _swing(loudest) < SILENCE:
        raise AudioError(f"silent: no sample departs from the mean by more than {SILENCE:g}")
    return loudest


def _swing(signal: np.ndarray) -> float:
    """Returns the largest departure from the mean: a constant offset is silence too."""
    import numpy as np

    return float(np.abs(signal - signal.mean()).max())
