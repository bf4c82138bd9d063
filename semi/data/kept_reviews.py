"""gold_reviews.csv: the reviews that something learns from, its own copy beside its checkpoints.

The file they came from grows while people go on; what was begun goes on with what it was begun
with, or it would no longer come to the same numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..files import write_text
from .reviewed import GOLD_REVIEWS, Reviewed, read_all
from .reviews import list_of, read_reviews
from .wording import counted


def keep_reviews(folder: Path, reviewed: Reviewed | None) -> None:
    """Writes down the reviews that are learned from; a copy that is there already stays."""
    path = folder / GOLD_REVIEWS
    if reviewed is not None and not path.is_file():
        write_text(path, list_of(reviewed.lines))


def own_reviews(folder: Path, given: Sequence[str]) -> list[str]:
    """Returns the copy that a folder keeps of its reviews, else the files that are given.

    A sentence on stderr says how many have come since. None given stay none: whoever takes
    data.reviews away means another training.
    """
    own = folder / GOLD_REVIEWS
    if not given or not own.is_file():
        return list(given)
    known = set(read_reviews(own))
    now = [path for path in given if Path(path).expanduser().is_file()]
    if since := len(set(read_all(now)) - known):
        print(
            f"semi: {folder} goes on with the {counted(len(known), 'review')} that it was begun "
            f"with; {counted(since, 'other', 'has', 'have')} come since: choose another name=... "
            "to learn from all of them",
            file=sys.stderr,
        )
    return [str(own)]
