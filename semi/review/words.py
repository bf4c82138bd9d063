"""What was said so far, kept in memory beside reviews.csv, and what of it a reviewer may see."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from ..data.reviews import Review, append_review, folder_gone, read_reviews, stack

Stamp = tuple[int, int]  # bytes and time of change of a file


class Words:
    """The reviews of a run, read anew where another process has added some.

    Expected usage:

        words = Words(run / "reviews.csv")
        words.add(Review("u1", "label", "joy", "ann"))      # on disk when this returns
        words.own("ann")["u1"].label                        # joy
    """

    def __init__(self, path: Path) -> None:
        """Reads what is there; RunError where it is no list of reviews."""
        self.path = path
        self._lock = threading.Lock()
        self._stamp: Stamp = (-1, -1)
        self._log: list[Review] = []
        self._standing: dict[str, list[Review]] = {}  # reviewer -> words that stand, oldest first
        self.refresh()

    def refresh(self) -> int:
        """Reads the file if it has changed; returns how many lines it has."""
        with self._lock:
            if self._now() != self._stamp:
                stamp = self._now()
                log = read_reviews(self.path)
                self._log, self._standing, self._stamp = [], {}, stamp
                for review in log:
                    self._note(review)
            return len(self._log)

    def add(self, review: Review) -> Review:
        """Writes a review; it is on disk when this returns. RunError where it cannot be written."""
        self.refresh()  # a list that cannot be read refuses the word before it is written
        with self._lock:
            before = self._now()
            review = append_review(self.path, review)
            alone = before == self._stamp and before[0] > 0
            if alone and self._lines_since(before[0]) == 1:  # nobody else wrote in between
                self._note(review)
                self._stamp = self._now()
        self.refresh()
        return review

    def own(self, reviewer: str, lines: int | None = None) -> dict[str, Review]:
        """Returns id -> the reviewer's last word on it, as of the first `lines` of the file."""
        with self._lock:
            if lines is None or lines >= len(self._log):
                standing = self._standing
            else:
                standing = {}
                for review in self._log[:lines]:
                    stack(standing.setdefault(review.reviewer, []), review)
            return {review.id: review for review in standing.get(reviewer, [])}

    def of_others(self, name: str, reviewer: str) -> list[Review]:
        """Returns what the others' last words on an utterance are, by their names."""
        with self._lock:
            last = {
                who: review
                for who, words in self._standing.items()
                for review in words
                if review.id == name and who != reviewer
            }
        return [last[who] for who in sorted(last)]

    def latest(self, reviewer: str) -> Review | None:
        """Returns the reviewer's newest word that stands: what undo takes back."""
        with self._lock:
            words = self._standing.get(reviewer)
            return words[-1] if words else None

    def picked(self, pick: str) -> set[str]:
        """Returns the ids of which a word stands that was said of such a pick, by anybody."""
        with self._lock:
            return {r.id for words in self._standing.values() for r in words if r.pick == pick}

    def log(self) -> tuple[Review, ...]:
        """Returns all lines, in their order."""
        with self._lock:
            return tuple(self._log)

    def reviewers(self) -> list[str]:
        """Returns the names of all reviewers so far."""
        with self._lock:
            return sorted({r.reviewer for r in self._log if r.reviewer})

    def _note(self, review: Review) -> None:
        self._log.append(review)
        stack(self._standing.setdefault(review.reviewer, []), review)

    def _now(self) -> Stamp:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                raise folder_gone(self.path) from None
            return (0, 0)
        return (found.st_size, found.st_mtime_ns)

    def _lines_since(self, size: int) -> int:
        with open(self.path, "rb") as source:
            source.seek(size)
            return source.read().count(b"\n")


def counts(words: Iterable[Review]) -> dict[str, int]:
    """Returns verdict -> how many."""
    found: dict[str, int] = {}
    for review in words:
        found[review.verdict] = found.get(review.verdict, 0) + 1
    return found
