"""What the report can let you hear and read of an utterance, within the size of one page."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.audio_clip import clip_uri
from ..errors import AudioError

if TYPE_CHECKING:
    import pandas as pd

MOST_CLIPS = 60
MOST_BYTES = 3_600_000  # of all clips as they stand in the page; the rest of it is about 0.3 MB
LONGEST_TEXT = 300  # letters
ROW_COLUMNS = ("audio", "start", "end", "text", "speaker")


class Utterances:
    """The sounds and texts of a run's rows; each clip is read once, when a row asks for it.

    Args:
        table: of the manifest, with id, audio, start, end, text, speaker; None = not there.
        most: clips in all.
    """

    def __init__(self, table: pd.DataFrame | None, most: int = MOST_CLIPS) -> None:
        self.most, self._table = most, table
        self.there = table is not None
        self._rows: dict[str, tuple] = {}  # of the ids that were asked for
        self.clips: dict[str, str] = {}
        self.silent = 0  # sounds that could not be read
        self._bytes = 0

    def look_up(self, names: Collection[str]) -> None:
        """Finds rows of the table, in one pass for all these ids; others are found one by one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        new = sorted(set(names) - self._rows.keys())
        self._rows |= dict.fromkeys(new, (None,) * len(ROW_COLUMNS))
        if self._table is None or not new:
            return
        ids = pa.array(self._table["id"].astype(str), pa.large_string())
        asked = pc.SetLookupOptions(pa.array(new, pa.large_string()))
        known = pc.call_function("is_in", [ids], asked).to_numpy(zero_copy_only=False)
        found = self._table.iloc[np.flatnonzero(known)]
        cells = (found[c].tolist() if c in found else [None] * len(found) for c in ROW_COLUMNS)
        self._rows |= zip(found["id"].astype(str), zip(*cells, strict=True), strict=True)

    def text(self, name: str) -> str:
        """Returns what was said in an utterance, '' where that is unknown."""
        text = _word(self._row(name)[3])
        return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."

    def speaker(self, name: str) -> str:
        """Returns who said an utterance, '' where that is unknown."""
        return _word(self._row(name)[4])

    def clip(self, name: str) -> str:
        """Returns an utterance's clip as a data: address; '' where there is no sound or no room."""
        if name in self.clips:
            return self.clips[name]
        path, start, end = self._row(name)[:3]
        if not isinstance(path, str) or len(self.clips) >= self.most:
            return ""
        try:
            uri = clip_uri(path, start=start, end=end)
        except AudioError:  # it was there when it was learned from; the row stands without it
            self.silent += 1
            return ""
        if self._bytes + len(uri) > MOST_BYTES:
            return ""
        self._bytes += len(uri)
        self.clips[name] = uri
        return uri

    def _row(self, name: str) -> tuple:
        if name not in self._rows:
            self.look_up([name])
        return self._rows[name]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
