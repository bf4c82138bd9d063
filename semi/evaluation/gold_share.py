"""How often somebody's word is right on rows whose label is known, and whether chance would be.

Letters: n rows, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..data.wording import counted, shown


@dataclass
class GoldShare:
    """How often a voter names the label of gold rows."""

    rows: int  # n
    right: int
    chance: float  # share that would be right if its labels fell on the rows at random
    by_class: dict[str, tuple[int, int]]  # class -> (right, rows that it names so)

    @classmethod
    def of(cls, named: Sequence[str], gold: Sequence[str], classes: Sequence[str]) -> GoldShare:
        """Returns the share of the rows (n,) whose named label is their gold one."""
        rows, true = Counter(named), Counter(gold)
        right = Counter(a for a, b in zip(named, gold, strict=True) if a == b)
        chance = sum(rows[c] * true[c] for c in rows) / max(len(named), 1) ** 2
        by_class = {c: (right[c], rows[c]) for c in classes if rows[c]}
        return cls(len(named), sum(right.values()), chance, by_class)

    @property
    def beats_chance(self) -> bool:
        """Says whether the lower end of its interval is above what chance would give."""
        return wilson(self.right, self.rows)[0] > self.chance

    def words(self, of: str = "gold training row") -> str:
        """Returns '62 % right [52, 71] on 100 gold training rows (chance: 21 %)'."""
        if not self.rows:
            return f"no {of} has its vote"
        low, high = wilson(self.right, self.rows)
        return (
            f"{100 * self.right / self.rows:.0f} % right [{100 * low:.0f}, {100 * high:.0f}] on "
            f"{counted(self.rows, of)} (chance: {100 * self.chance:.0f} %)"
        )

    def class_words(self) -> str:
        """Returns 'anger 70 % of 20, joy 55 % of 40': how often each label that it names is so."""
        return ", ".join(
            f"{shown(name, 40)} {100 * right / rows:.0f} % of {rows:,}"
            for name, (right, rows) in self.by_class.items()
        )


def wilson(right: int, rows: int) -> tuple[float, float]:
    """Returns the ends of the 95 % interval of a share by Wilson's score; (0, 1) of no row."""
    from scipy.stats import binomtest

    if not rows:
        return 0.0, 1.0
    found = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)
