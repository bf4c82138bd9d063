"""Which label a few words name: in any case, with signs around it, in another language.

Letters: C classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ..data.alike import MEANING, looks
from ..data.wording import nearest, shown
from ..errors import ConfigError

# A sentence that denies something names a label it does not mean.
DENIALS = re.compile(
    r"\b(not|no|never|neither|nor|without|\w+n['’]t|kein\w*|nicht|weder|pas|non|sin|ni)\b",
    re.IGNORECASE,
)
THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)


def spoken_names(classes: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Returns what each class is called in front of the model: its own name where none is given.

    Args:
        classes: (C,) labels of the table.
        names: label -> words for it, such as {"ang": "anger"}.

    Raises:
        ConfigError: a label that is no class, an empty name, or two classes of one name.
    """
    for label, words in names.items():
        if label not in classes:
            raise ConfigError(
                f"--name {shown(label, 40)}=...: no label of the table{nearest(label, classes)}; "
                f"its labels are {', '.join(shown(c, 40) for c in classes)}"
            )
        if not words.strip():
            raise ConfigError(f"--name {shown(label, 40)}=: says nothing; write LABEL=WORDS")
    spoken = [names.get(c, c).strip() for c in classes]
    twice = [name for name, count in Counter(map(looks, spoken)).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two labels would be called '{shown(twice[0], 40)}'; give each a name of its own with "
            "--name LABEL=WORDS"
        )
    return spoken


class LabelWords:
    """Finds the labels that a text names."""

    def __init__(self, classes: Sequence[str], spoken: Sequence[str]) -> None:
        """Takes the (C,) labels of a table, and what each of them is called before the model."""
        self.known: dict[str, int] = {}
        for names in (classes, spoken):  # what the model was shown wins
            self.known |= {looks(name): k for k, name in enumerate(names)}
        groups: dict[str, set[int]] = {}
        for name, k in self.known.items():
            if name in MEANING:
                groups.setdefault(MEANING[name], set()).add(k)
        self.meant = {group: min(ks) for group, ks in groups.items() if len(ks) == 1}
        self.longest_first = sorted(self.known, key=len, reverse=True)

    def exact(self, words: str) -> int | None:
        """Returns the class that these words are, None where they are none."""
        plain = looks(words)
        if plain in self.known:
            return self.known[plain]
        return self.meant.get(MEANING.get(plain, ""))

    def named(self, text: str) -> set[int]:
        """Returns the classes that a text names; none of a text that denies something."""
        if (k := self.exact(text)) is not None:
            return {k}
        if DENIALS.search(text):
            return set()
        rest, found = " ".join(looks(word) for word in text.split()), set()
        for name in self.longest_first:  # 'very happy' is not 'happy' as well
            rest, count = re.subn(rf"(?<!\w){re.escape(name)}(?!\w)", " ", rest)
            found |= {self.known[name]} if count else set()
        for word in re.findall(r"\w+", rest):
            if (k := self.meant.get(MEANING.get(word, ""))) is not None:
                found.add(k)
        return found

    def beginning(self, token: str) -> int | None:
        """Returns the one class whose name begins with a token of two letters and more."""
        plain = looks(token)
        if len(plain) < 2:
            return None
        found = {k for name, k in self.known.items() if name.startswith(plain)}
        return found.pop() if len(found) == 1 else None


def without_thoughts(text: str) -> str:
    """Returns an answer without what a reasoning model wrote before it."""
    return THOUGHT.sub("", text).strip()
