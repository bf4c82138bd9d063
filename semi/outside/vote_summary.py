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
from ..evaluation.gold_share import GoldShare

if TYPE_CHECKING:
    from ..data.manifest import Manifest
    from ..data.roles import Splits

HOW_READ = {
    "logprobs": "the probabilities of the first token",
    "json": "the numbers of a JSON object",
    "samples": "counted answers",
}


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
    given, gold = zip(*pairs, strict=True)
    return GoldShare.of(given, gold, manifest.classes)


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
            lines.append(f"it is {self.gold.words()}")
            lines.append(f"  by the label that it names: {self.gold.class_words()}")
        word = setting("data.outside", [str(self.path)])
        return "\n".join([*lines, f"next: semi train ... {word} select.rule=external"])
