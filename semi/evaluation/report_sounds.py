"""What the report can let you hear and read of an utterance, within the size of one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..data.audio_clip import clip_uri
from ..errors import AudioError

if TYPE_CHECKING:
    import pandas as pd

MOST_CLIPS = 60
MOST_BYTES = 3_600_000  # of all clips as they stand in the page; the rest of it is about 0.3 MB
LONGEST_TEXT = 300  # letters


class Utterances:
    """The sounds and texts of a run's rows; each clip is read once, when a row asks for it.

    Args:
        table: of the manifest, with id, audio, start, end, text, speaker; None = not there.
        most: clips in all.
    """

    def __init__(self, table: pd.DataFrame | None, most: int = MOST_CLIPS) -> None:
        self.most = most
        self.there = table is not None
        self._rows: dict[str, Any] = {}
        if table is not None:
            columns = ("audio", "start", "end", "text", "speaker")
            cells = (table[c].tolist() if c in table else [None] * len(table) for c in columns)
            self._rows = dict(zip(table["id"].astype(str), zip(*cells, strict=True), strict=True))
        self.clips: dict[str, str] = {}
        self.silent = 0  # sounds that could not be read
        self._bytes = 0

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
        return self._rows.get(name, (None,) * 5)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
