"""What stands on two sides of the split: the same utterance, audio, text, speaker or session."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false
# pyright: reportAttributeAccessIssue=false
# pyright: reportCallIssue=false

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import AudioError
from .audio import Span, audio_sha256, load_sound
from .config import LEAK_KINDS
from .wording import shown

if TYPE_CHECKING:
    import pandas as pd

    from .manifest import Manifest
    from .roles import Splits

SIDES = {"labeled": "train", "pool": "train", "dev": "dev", "test": "test"}
EXAMPLES = 3
INPUTS = ("audio", "text")  # the columns that a model may hear or read
# Spoken corpora repeat their sentences, so one text on two sides is told, and stops no run.
MERE_WARNINGS = ("text",)


@dataclass
class Leak:
    """One kind of leak between the sides."""

    kind: str
    count: int  # dev and test rows whose twin stands on another side
    of: int  # dev and test rows in all
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the leak as one sentence."""
        examples = "; ".join(self.examples)
        return f"{self.kind}: {self.count} of {self.of} dev/test rows, e.g. {examples}"


@dataclass
class Leaks:
    """Every kind of leak that was found; kinds without any are absent."""

    found: dict[str, Leak] = field(default_factory=dict)

    def unacknowledged(self, allow: Iterable[str]) -> list[Leak]:
        """Returns the leaks whose kind is not in `allow` (data.allow_leaks)."""
        allowed = set(allow)
        return [leak for kind, leak in self.found.items() if kind not in allowed]

    def __str__(self) -> str:
        """Returns one line a leak, or the sentence that there is none."""
        return "\n".join(map(str, self.found.values())) or "no leak between train, dev and test"


def leak_report(
    manifest: Manifest,
    splits: Splits,
    audio_key: Callable[[str], str] | None = None,
    inputs: Collection[str] = INPUTS,
) -> Leaks:
    """Returns what stands on two of the sides train (labelled and pool), dev and test.

    `audio_key` (such as `content_key`) also finds one recording under two names; only files of
    equal size on different sides are read for it. What is not among the `inputs` of a model cannot
    leak into it and is not looked at.
    """
    import pandas as pd

    table = manifest.table
    side = pd.Series(splits.role).map(SIDES)
    nothing = pd.Series([None] * len(table), dtype=object)
    text = _text_keys(table["text"]) if "text" in inputs else nothing
    sounds = "audio" in inputs and bool(table["audio"].notna().to_numpy().any())
    keys = {
        "utterance": _utterance_keys(table, text),
        "audio": _audio_keys(table, side, audio_key) if sounds else nothing,
        "text": text,
        "speaker": table["speaker"],
        "session": table["session"],
    }
    held = side.isin(["dev", "test"])
    leaks = Leaks()
    for kind in LEAK_KINDS:
        leak = _crossing(kind, keys[kind], side, table["id"], int(held.sum()))
        if leak is not None:
            leaks.found[kind] = leak
    return leaks


def content_key(path: str) -> str:
    """Returns the SHA-256 of a file; one that has not changed is read once in a process."""
    status = os.stat(path)
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _digest(path: str, size: int, changed: int) -> str:
    return audio_sha256(path)


def normalise_text(text: str) -> str:
    """Returns `text` without case, punctuation and repeated blanks, in one Unicode form."""
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _crossing(kind: str, key: pd.Series, side: pd.Series, ids: pd.Series, held: int) -> Leak | None:
    import pandas as pd

    known = key.notna() & side.notna()
    frame = pd.DataFrame({"key": key[known], "side": side[known], "id": ids[known]})
    if not len(frame):
        return None
    sides = frame.groupby("key", sort=False)["side"].nunique()
    crossing = frame[frame["key"].isin(sides.index[sides > 1])]
    count = int((crossing["side"] != "train").sum())
    if not count:
        return None
    examples = []
    for name, rows in list(crossing.groupby("key", sort=False))[:EXAMPLES]:
        where = rows.drop_duplicates("side")
        pairs = zip(where["side"], where["id"], strict=True)
        places = " and ".join(f"{side} ({shown(i, 60)})" for side, i in pairs)
        what = os.path.basename(str(name)) if kind == "audio" else str(name)
        examples.append(f"'{shown(what, 60)}' in {places}")
    return Leak(kind, count, held, examples)


def _text_keys(column: pd.Series) -> pd.Series:
    import pandas as pd

    known = {text: normalise_text(text) or None for text in column.dropna().unique()}
    return pd.Series([known.get(text) for text in column.tolist()], dtype=object)


def _utterance_keys(table: pd.DataFrame, text: pd.Series) -> pd.Series:
    """Rows are one utterance if ids differ in case only, or text, length and speaker agree."""
    import pandas as pd

    columns = (text, table["speaker"], table["seconds"])
    twins = [
        None if sentence is None or speaker is None or length != length
        else f"{sentence} ({speaker}, {length} s)"
        for sentence, speaker, length in zip(*(c.tolist() for c in columns), strict=True)
    ]  # fmt: skip
    repeated = pd.Series(twins, dtype=object).duplicated(keep=False)
    ids = table["id"].tolist()
    return pd.Series(
        [
            twin if twin is not None and again else name.casefold()
            for twin, again, name in zip(twins, repeated, ids, strict=True)
        ],
        dtype=object,
    )


def _audio_keys(
    table: pd.DataFrame, side: pd.Series, audio_key: Callable[[str], str] | None
) -> pd.Series:
    """Rows share audio if path and span agree, with `audio_key` also if content and span agree."""
    import pandas as pd

    paths = table["audio"]
    content: dict[str, str | None] = {}
    if audio_key is not None:
        size = pd.Series([_size(path) for path in paths.tolist()], dtype=float)
        sides = side.groupby(size).nunique()
        suspect = size.isin(sides.index[sides > 1]) & side.notna()
        content = {path: _hash(path, audio_key) for path in paths[suspect].unique()}
        copies = Counter(content.values())
        for path, digest in content.items():  # two empty or silent files are broken, not a leak
            if digest is not None and copies[digest] > 1 and not _usable(path):
                content[path] = None
    name: dict[str, str] = {}  # content -> the first path that has it
    keys = []
    for path, start, end in zip(paths, table["start"], table["end"], strict=True):
        if path is None:
            keys.append(None)
            continue
        shown = name.setdefault(content.get(path) or path, path)
        span = "" if start != start and end != end else f" {start:g}-{end:g} s"
        keys.append(shown + span)
    return pd.Series(keys, dtype=object)


def _size(path: str | None) -> float:
    try:
        return float(os.path.getsize(path)) if path is not None else float("nan")
    except OSError:
        return float("nan")


def _hash(path: str, audio_key: Callable[[str], str]) -> str | None:
    try:
        return audio_key(path)
    except (AudioError, OSError):  # it goes to quarantine at extraction
        return None


def _usable(path: str) -> bool:
    try:
        load_sound(path, Span(max_seconds=float("inf")))
    except AudioError:
        return False
    return True
