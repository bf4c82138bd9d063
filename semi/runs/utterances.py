"""What is to be labelled, as a table: files, sounds in memory, texts, or pairs of both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.waveforms import Waveform, as_sounds, is_one_sound
from ..data.wording import counted, listed, shown
from ..errors import AudioError, ManifestError

if TYPE_CHECKING:
    import pandas as pd


def utterances(
    audio: Sequence[Any] | None, texts: Sequence[str | None] | None
) -> dict[str, list[Any]]:
    """Returns the columns id, audio and text of some sounds, some texts, or pairs of both."""
    sounds = _sounds(audio)
    texts = [texts] if isinstance(texts, str) else list(texts or [])
    if not sounds and not texts:
        raise ManifestError("nothing to label: give audio files, --text, or --manifest table.csv")
    if sounds and texts and len(sounds) != len(texts):
        raise ManifestError(
            f"{counted(len(sounds), 'audio file')} but {counted(len(texts), 'text')}; "
            "give one text per file, or none"
        )
    n = max(len(sounds), len(texts))
    sounds, texts = sounds or [None] * n, texts or [None] * n
    names = [f"text {i}" if s is None else str(s) for i, s in enumerate(sounds, 1)]
    for i, s in enumerate(sounds):
        if isinstance(s, Waveform) and names.count(s.name) > 1:
            names[i] = f"{s.name} ({i + 1})"
    if len(set(names)) < n:
        raise ManifestError("the same audio file is given twice; each utterance is labelled once")
    paths = [os.path.abspath(s) if isinstance(s, str) else s for s in sounds]
    return {"id": names, "audio": paths, "text": list(texts)}


def _sounds(audio: Any) -> list[str | Waveform | None]:
    """Returns a sound or several as paths and Waveforms; ManifestError names one that is none."""
    if audio is None:
        return []
    try:
        return as_sounds([audio] if is_one_sound(audio) else list(audio))
    except AudioError as error:
        raise ManifestError(str(error)) from None


def with_sounds(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table whose column `audio` holds paths and Waveforms."""
    import pandas as pd

    if "audio" not in table or all(isinstance(a, str) for a in table["audio"].dropna()):
        return table
    sounds = pd.Series(_sounds(table["audio"].tolist()), table.index, dtype=object)
    return table.assign(audio=sounds)


def in_folders(audio: Sequence[str]) -> list[str]:
    """Returns the named files, in place of a folder all sounds beneath it, by name.

    Raises ManifestError for a folder without any sound.
    """
    if not any(map(os.path.isdir, audio)):
        return list(audio)
    from ..data.formats.cells import is_sound, walk

    found = []
    for name in audio:
        if not os.path.isdir(name):
            found.append(name)
            continue
        sounds = [str(file) for file in walk(Path(name)) if is_sound(file)]
        if not sounds:
            raise ManifestError(
                f"{shown(name, 160)} is a folder without a sound; give one that holds some, or "
                "the files themselves"
            )
        found += sounds
    return found


def check_files(audio: Sequence[str]) -> None:
    """Raises ManifestError for tables and for files that are not there."""
    from ..data.headers import TABLE_SUFFIXES

    missing = [shown(name, 160) for name in audio if not os.path.isfile(name)]
    if missing:
        raise ManifestError(f"no such audio file: {listed(missing, 5)}")
    for name in audio:
        if name.lower().endswith(TABLE_SUFFIXES):
            raise ManifestError(f"{shown(name, 160)} is a table; write --manifest before it")
