"""What stands on two sides of the split: the same utterance, audio, text, speaker or session."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .config import LEAK_KINDS

if TYPE_CHECKING:
    import pandas as pd

    from .manifest import Manifest
    from .splits import Splits

SIDES = {"labeled": "train", "pool": "train", "dev": "dev", "test": "test"}
EXAMPLES = 3


@dataclass
class Leak:
    """One kind of leak between the sides."""

    kind: str
    count: int  # dev and test rows whose twin stands on another side
    of: int  # dev and test rows in all
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the leak as one sentence."""
        shown = "; ".join(self.examples)
        return f"{self.kind}: {self.count} of {self.of} dev/test rows, e.g. {shown}"


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
    manifest: Manifest, splits: Splits, audio_key: Callable[[str], str] | None = None
) -> Leaks:
    """Returns what stands on two of the sides train (labelled and pool), dev and test.

    `audio_key` (such as `audio_sha256`) also finds one recording under two names; only files of
    equal size on different sides are read for it.
    """
    import pandas as pd

    table = manifest.table
    side = pd.Series(splits.role).map(SIDES)
    keys = {
        "utterance": _utterance_keys(table),
        "audio": _audio_keys(table, side, audio_key),
        "text": _text_keys(table["text"]),
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


def normalise_text(text: str) -> str:
    """Returns `text` without case, punctuation and repeated blanks, in one Unicode form."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in plain).split())


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
        places = " and ".join(f"{s} ({i})" for s, i in zip(where["side"], where["id"], strict=True))
        shown = os.path.basename(str(name)) if kind == "audio" else str(name)
        examples.append(f"'{shown[:60]}' in {places}")
    return Leak(kind, count, held, examples)


def _text_keys(column: pd.Series) -> pd.Series:
    known = {text: normalise_text(text) or None for text in column.dropna().unique()}
    return column.map(known, "ignore")


def _utterance_keys(table: pd.DataFrame) -> pd.Series:
    """Rows are one utterance if ids differ in case only, or text, length and speaker agree."""
    ids = table["id"].str.casefold()
    exact = table["seconds"].notna() & table["text"].notna() & table["speaker"].notna()
    span = table["start"].fillna(0).astype(str) + "+" + table["seconds"].astype(str)
    twin = _text_keys(table["text"]).astype(str) + " | " + span + " | "
    twin = (twin + table["speaker"].astype(str)).where(exact)
    repeated = twin.notna() & twin.duplicated(keep=False)
    return twin.where(repeated, ids)


def _audio_keys(
    table: pd.DataFrame, side: pd.Series, audio_key: Callable[[str], str] | None
) -> pd.Series:
    paths = table["audio"]
    span = table["start"].astype(str) + "-" + table["end"].astype(str)
    whole = table["start"].isna() & table["end"].isna()
    key = paths.where(whole, paths + " " + span).where(paths.notna())
    if audio_key is None:
        return key
    size = paths.map(_size, "ignore")
    sides = side.groupby(size).nunique()
    suspect = size.isin(sides.index[sides > 1]) & side.notna()
    hashed = {path: _hash(path, audio_key) for path in paths[suspect].unique()}
    content = paths.map(hashed, "ignore")
    content = content.where(whole, content + " " + span)
    names = paths.map(lambda p: os.path.basename(p), "ignore")
    return key.where(content.isna(), names.groupby(content).transform("first") + "#" + content)


def _size(path: str) -> float:
    try:
        return float(os.path.getsize(path))
    except OSError:
        return float("nan")


def _hash(path: str, audio_key: Callable[[str], str]) -> str | None:
    from ..errors import AudioError

    try:
        return audio_key(path)
    except AudioError:  # it goes to quarantine at extraction
        return None
