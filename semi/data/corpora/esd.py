"""ESD, the Emotional Speech Database: 350 sentences by ten Mandarin and ten English speakers.

0001/Angry/0001_000351.wav, in some copies one folder deeper in train, test, evaluation;
0001/0001.txt has id, sentence and emotion, by speaker in UTF-8, UTF-16, GBK or Latin-1.
github.com/HLTSingapore/Emotional-Speech-Data, its ReadMe.txt
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .account import summary
from .files import SOUNDS, Tree, examples, one_of, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"(\d{4})_\d{6}")
LINE = re.compile(r"(\d{4}_\d{6})\s+(.*)")
EMOTIONS = {
    **{"angry": "angry", "happy": "happy", "neutral": "neutral", "sad": "sad"},
    **{"surprise": "surprise", "surprised": "surprise", "anger": "angry"},
    **{"生气": "angry", "快乐": "happy", "开心": "happy", "高兴": "happy", "中立": "neutral"},
    **{"伤心": "sad", "悲伤": "sad", "惊喜": "surprise", "惊讶": "surprise"},
}
SPLITS = {"train": "train", "evaluation": "dev", "test": "test"}
WOMEN = (1, 2, 3, 7, 9, 15, 16, 17, 18, 19)


def read_esd(tree: Tree, *, language: str = "all") -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of ESD and notes; `language`: zh (speakers 1 to 10), en (11 to 20) or all.

    The emotion is that of the speaker's text file, or the folder's where that says none.
    """
    one_of("language", language, ("all", "zh", "en"))
    lines = _lines(tree)
    records, strange, wordless, other = [], [], [], []
    left = 0
    for path in sorted(tree.stems(SOUNDS).values(), key=lambda p: p.stem):
        match = NAME.fullmatch(path.stem)
        folders = [part.lower() for part in path.relative_to(tree.folder).parts[:-1]]
        folder = next((EMOTIONS[x] for x in reversed(folders) if x in EMOTIONS), None)
        text, written = lines.get(path.stem, (None, None))
        if match is None or not (folder or written):
            strange.append(path.name)
            continue
        number = int(match[1])
        spoken = "zh" if number <= 10 else "en"
        if language not in ("all", spoken):
            left += 1
            continue
        if text is None:
            wordless.append(path.stem)
        if written and folder and written != folder:
            other.append(path.stem)
        split = next((SPLITS[x] for x in reversed(folders) if x in SPLITS), None)
        records.append(_record(path, text, written or folder, match[1], spoken, split))
    if not records:
        raise ManifestError(
            f"{tree.folder}: no ESD sound such as 0001/Angry/0001_000351.wav beneath it"
        )
    table = to_table(records)
    notes = [summary(table)]
    if left:
        notes.append(
            f"language={language} leaves out {counted(left, 'sound')} of the other language"
        )
    return table, notes + _notes(table, strange, wordless, other)


def _record(
    path: Path, text: str | None, label: str | None, speaker: str, language: str, split: str | None
) -> dict[str, Any]:
    return {
        "id": path.stem, "audio": str(path), "text": text, "label": label, "speaker": speaker,
        "gender": "f" if int(speaker) in WOMEN else "m", "split": split, "language": language,
    }  # fmt: skip


def _notes(
    table: pd.DataFrame, strange: list[str], wordless: list[str], other: list[str]
) -> list[str]:
    notes = [f"languages: {tally(Counter(table['language'].tolist()))}"]
    if other:
        notes.append(
            f"{counted(len(other), 'utterance', 'lies', 'lie')} in the folder of another emotion "
            f"than the speaker's text file says, which counts ({examples(other)})"
        )
    if wordless:
        notes.append(
            f"{counted(len(wordless), 'utterance', 'has', 'have')} no sentence "
            f"({examples(wordless)})"
        )
    if strange:
        notes.append(
            f"{counted(len(strange), 'sound')} left out as named otherwise or in no emotion's "
            f"folder ({examples(strange)})"
        )
    notes.append(
        "350 sentences of a language are said by all, in every emotion: the same text stands on "
        "both sides of any speaker split ('data.allow_leaks=[text]')"
    )
    if any(table["split"].tolist()):
        notes.append(
            "the split of the folders shares speakers: use it with "
            "'data.allow_leaks=[speaker,text]'"
        )
    return notes


def _lines(tree: Tree) -> dict[str, tuple[str | None, str | None]]:
    """Returns {id: (sentence, emotion)} of the speakers' text files."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for path, match in tree.matching(r"(\d{4})\.txt"):
        for line in _decode(tree.data(path), int(match[1]) <= 10).splitlines():
            if (row := LINE.match(line.strip("\ufeff \t"))) is None:
                continue
            words = row[2].split()
            emotion = EMOTIONS.get(words[-1].lower()) if words else None
            text = " ".join(words[:-1] if emotion else words)
            found.setdefault(row[1], (text or None, emotion))
    return found


def _decode(data: bytes, chinese: bool) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\x00" in data[:100]:
        return data.decode("utf-16-le" if data[1:2] == b"\x00" else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030" if chinese else "cp1252", errors="replace")
