"""What came of asking a model: votes, abstentions, and how often it is right on gold.

Letters: n gold rows with a vote, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.wording import counted, setting, shown

if TYPE_CHECKING:
    from ..data.manifest import Manifest
    from ..data.roles import Splits

HOW_READ = {
    "logprobs": "the probabilities of the first token",
    "json": "the numbers of a JSON object",
    "samples": "counted answers",
}


@dataclass
class GoldShare:
    """How often votes name the label of gold training rows."""

    rows: int  # n
    right: int
    most: int  # rows of the most frequent label
    most_label: str
    by_class: dict[str, tuple[int, int]]  # named class -> (right, rows that it names so)

    def __str__(self) -> str:
        """Returns the share with its interval, and what always saying one label would be."""
        low, high = wilson(self.right, self.rows)
        return (
            f"{100 * self.right / self.rows:.0f} % right [{100 * low:.0f}, {100 * high:.0f}] on "
            f"{counted(self.rows, 'gold training row')} (always '{shown(self.most_label, 40)}': "
            f"{100 * self.most / self.rows:.0f} %)"
        )


def wilson(right: int, rows: int) -> tuple[float, float]:
    """Returns the ends of the 95 % interval of a share by Wilson's score; (0, 1) of no row."""
    from scipy.stats import binomtest

    if not rows:
        return 0.0, 1.0
    found = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def gold_share(manifest: Manifest, splits: Splits, votes: Any) -> GoldShare | str:
    """Returns how often votes are right on the gold training rows, or why nobody knows.

    Args:
        manifest: the table, in the order of `splits`.
        splits: the sides of its rows.
        votes: table with id and label.
    """
    named = dict(zip(votes["id"], votes["label"], strict=True))
    ids, labels = manifest.table["id"].tolist(), manifest.table["label"].tolist()
    pairs = [
        (named[ids[at]], labels[at])
        for at in np.flatnonzero(splits.role == "labeled")
        if isinstance(named[ids[at]], str) and isinstance(labels[at], str)
    ]
    if not pairs:
        return "no gold training row has a vote"
    label, most = Counter(gold for _, gold in pairs).most_common(1)[0]
    rows = Counter(vote for vote, _ in pairs)
    right = Counter(vote for vote, gold in pairs if vote == gold)
    by_class = {name: (right[name], rows[name]) for name in manifest.classes if rows[name]}
    return GoldShare(len(pairs), sum(right.values()), most, label, by_class)


@dataclass
class VoteSummary:
    """What `semi vote` wrote."""

    path: Path
    classes: Sequence[str]
    counts: dict[str, int]  # rows, votes, no_text, abstained, failed
    labels: dict[str, int]  # label -> rows that the model gives it
    method: str
    gold: GoldShare | str
    examples: list[str]  # a few reasons for abstentions and failures

    @classmethod
    def of(
        cls, path: Path, classes: Sequence[str], votes: Any, method: str, gold: GoldShare | str
    ) -> VoteSummary:
        """Returns the summary of a table of votes."""
        has = votes["label"].notna()
        notes = votes["note"][~has].tolist()
        failed = [n for n in notes if n.startswith(("refused: ", "no reply: ", "not asked"))]
        empty = [n for n in notes if n == "no text"]
        counts = {"rows": len(votes), "votes": int(has.sum()), "no_text": len(empty),
                  "abstained": len(notes) - len(failed) - len(empty),
                  "failed": len(failed)}  # fmt: skip
        labels = Counter(votes["label"][has].tolist())
        examples = list(dict.fromkeys(n for n in notes if n != "no text"))[:3]
        return cls(path, classes, counts, {c: labels[c] for c in classes}, method, gold, examples)

    def __str__(self) -> str:
        """Returns what was written, what is missing and why, how right it is, what to type next."""
        counts = self.counts
        shares = ", ".join(f"{shown(c, 40)} {n:,}" for c, n in self.labels.items())
        lines = [
            f"{self.path}: {counts['votes']:,} votes in {counted(counts['rows'], 'row')}, by "
            f"{HOW_READ[self.method]} ({shares})"
        ]
        gaps = [("no_text", "without a text"), ("abstained", "whose answer names no label"),
                ("failed", "without an answer; the same line asks only these again")]  # fmt: skip
        lines += [f"  no vote: {counted(counts[k], 'row')} {why}" for k, why in gaps if counts[k]]
        lines += [f"    such as: {example}" for example in self.examples]
        if isinstance(self.gold, str):
            lines.append(f"how right it is, is not known: {self.gold}")
        else:
            lines.append(f"it is {self.gold}")
            parts = [f"{shown(c, 40)} {100 * right / rows:.0f} % of {rows}"
                     for c, (right, rows) in self.gold.by_class.items()]  # fmt: skip
            lines.append(f"  by the label that it names: {', '.join(parts)}")
        word = setting("data.outside", [str(self.path)])
        return "\n".join([*lines, f"next: semi train ... {word} select.rule=external"])
