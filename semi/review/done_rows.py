"""Which rows need not be given away again, as somebody has judged them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.reviews import REVIEWS, read_reviews, standing
from ..data.wording import counted
from ..errors import RunError

ALL = "--all takes them, too"


@dataclass
class DoneRows:
    """The rows of a run on which a word stands."""

    run: Path
    reviewer: str  # whose words these are; '' = anybody's
    own: set[str]
    drawn: set[str]  # judged as random picks, by anybody

    def has(self, name: str, pick: str) -> bool:
        """Says whether a row is done.

        One drawn at random that was judged elsewhere is not: without the rows that were looked for,
        the rest would be no sample of the pool.
        """
        return name in self.drawn if pick == "random" else name in self.own

    def to_do(self, chosen: Sequence[tuple[str, str]]) -> list[int]:
        """Returns the places of the rows still to be judged, of ids and how each is picked.

        RunError where all are done.
        """
        places = [k for k, pair in enumerate(chosen) if not self.has(*pair)]
        if chosen and not places:
            every = f"all {counted(len(chosen), 'row', 'is', 'are')}"
            if len(chosen) == 1:
                every = "its row is"
            raise RunError(f"{self.run}: {every} {self.by()} already; {ALL}")
        return places

    def note(self, left: int) -> list[str]:
        """Returns a sentence on how many rows were left out, none where none was."""
        return [f"{counted(left, 'row')} left out: {self.by()}; {ALL}"] if left else []

    def by(self) -> str:
        """Returns 'reviewed by Ann'."""
        return f"reviewed by {self.reviewer}" if self.reviewer else "reviewed"


def done_rows(run: Path, reviewer: str = "") -> DoneRows:
    """Returns the rows on which a word of the reviewer stands; without a name, of anybody."""
    own, drawn = set(), set()
    for name, words in standing(read_reviews(run / REVIEWS)).items():
        if reviewer in words or not reviewer:
            own.add(name)
        if any(word.pick == "random" for word in words.values()):
            drawn.add(name)
    return DoneRows(run, reviewer, own, drawn)
