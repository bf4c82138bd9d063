"""Sounds that come as bytes within a table, kept once each as a file named by its content."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from ...errors import ManifestError, RunError
from ...files import replacing
from .cells import is_sound

STARTS = (  # first bytes -> suffix, where a sound comes without a name
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\xff\xf3", ".mp3"),
    (b"FORM", ".aiff"),
    (b".snd", ".au"),
)


def cache_folder() -> Path:
    """Returns where such sounds are kept: semi/sounds in the user's cache folder.

    That is $XDG_CACHE_HOME, else ~/.cache (https://specifications.freedesktop.org/basedir-spec).
    """
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "semi/sounds"
    )


def keep(data: bytes, name: str | None) -> str:
    """Returns the path of a file that holds `data`; its suffix is that of `name`, if it has one."""
    key = hashlib.sha256(data).hexdigest()
    suffix = os.path.splitext(name)[1].lower() if name and is_sound(name) else _suffix(data)
    path = cache_folder() / key[:2] / f"{key}{suffix}"
    try:
        if not path.is_file() or path.read_bytes() != data:  # a file damaged since is mended
            with replacing(path) as temporary:
                temporary.write_bytes(data)
    except (OSError, RunError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(
            f"{path.parent}: the sounds within the table cannot be kept there ({reason}); name a "
            "folder with room in XDG_CACHE_HOME"
        ) from None
    return str(path)


def wav(samples: Any, sample_rate: int) -> bytes:
    """Returns (frames,) or (channels, frames) float samples as a WAV file of 32-bit floats."""
    import numpy as np
    from scipy.io import wavfile  # soundfile writes the time of day into float files

    array = np.asarray(samples, dtype=np.float32)
    buffer = io.BytesIO()
    wavfile.write(buffer, int(sample_rate), array.T if array.ndim == 2 else array)
    return buffer.getvalue()


def _suffix(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return ".m4a"
    return next((suffix for start, suffix in STARTS if data.startswith(start)), "")
