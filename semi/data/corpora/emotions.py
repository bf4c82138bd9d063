"""Emotion words as corpora spell them -> one spelling, so that corpora can stand in one table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from ..wording import counted

EKMAN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SPELLINGS = {
    **{name: name for name in EKMAN},
    "anger": "angry",
    "disqust": "disgust",  # the total column of KEMDy20
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
    **{"분노": "angry", "화남": "angry", "혐오": "disgust", "공포": "fear", "두려움": "fear"},
    **{"기쁨": "happy", "행복": "happy", "중립": "neutral", "무감정": "neutral", "슬픔": "sad"},
    **{"놀람": "surprise", "놀라움": "surprise"},
}


class Spelling:
    """Reads emotion cells and remembers the words that it does not know."""

    def __init__(self, known: Mapping[str, str] = SPELLINGS) -> None:
        self.known = dict(known)
        self.unknown: Counter[str] = Counter()

    def names(self, cell: str) -> list[str]:
        """Returns the emotions of a cell such as "Happy;neutral", sorted, each once."""
        found = set()
        for word in re.split(r"[;,|]", cell):
            word = word.strip().strip("'\"").lower()
            if not word or word in ("nan", "none", "-"):
                continue
            if word in self.known:
                found.add(self.known[word])
            else:
                self.unknown[word] += 1
        return sorted(found)

    def label(self, cell: str) -> str | None:
        """Returns the label: one emotion, a tie as 'a;b' in alphabetical order, or None."""
        return ";".join(self.names(cell)) or None

    def notes(self) -> list[str]:
        """Returns the sentence on words that are no emotion, if there were any."""
        if not self.unknown:
            return []
        words = ", ".join(
            f"'{word}' in {counted(n, 'place')}" for word, n in self.unknown.most_common(5)
        )
        return [f"words that name no known emotion are left out of labels and votes: {words}"]


def add_votes(votes: dict[str, float], names: Iterable[str], weight: float = 1.0) -> None:
    """Adds one rater's vote, shared by all the emotions that the rater named."""
    names = list(names)
    for name in names:
        votes[name] = votes.get(name, 0.0) + weight / len(names)


def winners(votes: Mapping[str, float]) -> str | None:
    """Returns the emotion with most votes; several of equal count as a tie 'a;b'."""
    best = max(votes.values(), default=0.0)
    return ";".join(sorted(n for n, v in votes.items() if v > best - 1e-9)) if best > 0 else None
