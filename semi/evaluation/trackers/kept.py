"""trackers.json of a run: which run of each tracker is this one's, and what is shown already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...files import write_json

TRACKERS_FILE = "trackers.json"


class Kept:
    """What a resumed run must know of its trackers; no address and no key is in it.

    `{"mlflow": {"run": "3f...", "rounds": [0, 1], "final": false}}`. A file that cannot be read
    only means that other runs are begun there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / TRACKERS_FILE
        self.entries = _read(self.path)

    def run(self, name: str) -> str:
        """Returns the identifier of the run in a tracker, or ''."""
        found = self._of(name).get("run")
        return found if isinstance(found, str) else ""

    def rounds(self, name: str) -> list[int]:
        """Returns the numbers of the rounds that are shown whole."""
        found = self._of(name).get("rounds")
        return [n for n in found if type(n) is int] if isinstance(found, list) else []

    def final(self, name: str) -> bool:
        """Says whether the scores of what ships are shown."""
        return self._of(name).get("final") is True

    def keep(self, name: str, **facts: Any) -> None:
        """Remembers facts of a tracker; `write` makes them last."""
        self.entries[name] = self._of(name) | facts

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        write_json(self.path, self.entries)

    def _of(self, name: str) -> dict[str, Any]:
        found = self.entries.get(name)
        return found if isinstance(found, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
