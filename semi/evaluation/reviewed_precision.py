"""How many pseudo-labels are right, by reviews of rows that were drawn at random.

Rows that somebody looked at because they were worth it say nothing of all the others; those drawn
at random do. Letters: n rows that were drawn and reviewed, k of them right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..data.reviews import REVIEWS, Review, read_reviews, standing
from ..data.wording import counted
from .gold_share import wilson
from .ledger_file import LEDGER_TABLE, ledger_of
from .run_json import read_result, shown_records

WANTED = 50  # reviews of random rows that a precision is stated from
Labels = Mapping[str, frozenset[str]]  # utterance -> its class, or its classes


@dataclass
class Precision:
    """How many of the pseudo-labels that were drawn at random are right."""

    right: int  # k
    rows: int  # n
    undecided: int  # more rows that were drawn, of which most reviewers do not agree on a label

    @property
    def share(self) -> float:
        """Returns k / n; NaN without a row."""
        return self.right / self.rows if self.rows else float("nan")

    def interval(self) -> tuple[float, float]:
        """Returns the 95 % interval of the share by Wilson's score; (0, 1) without a row.

        The rows are a draw of those of this very pool, so speakers play no part in it.
        """
        return wilson(self.right, self.rows)

    def words(self, of: int) -> str:
        """Returns '80.0 % right, 95 % interval [67.0, 88.8], by reviews of 50 rows ...'.

        Args:
            of: pseudo-labels that the rows were drawn from.
        """
        low, high = self.interval()
        more = f"; {self.undecided} more without a label that most agree on" * bool(self.undecided)
        return (
            f"{100 * self.share:.1f} % right, 95 % interval [{100 * low:.1f}, {100 * high:.1f}], "
            f"by reviews of {counted(self.rows, 'row')} drawn at random of {of:,}{more}"
        )


def precision(machine: Labels, reviews: Iterable[Review], *, several: bool = False) -> Precision:
    """Returns how many of the machine's labels reviewers confirm, among rows drawn at random.

    A row was drawn if any word on it says so; what it is, is what most of its reviewers say.

    Args:
        machine: what the machine learned of each pseudo-labelled row.
        reviews: all lines of reviews.
        several: a row may have several labels: all of them must agree.
    """
    reviews = list(reviews)
    drawn = {review.id for review in reviews if review.pick == "random"}
    found = Precision(0, 0, 0)
    for name, words in standing(reviews).items():
        if name not in drawn or name not in machine:
            continue
        truth = agreed(words.values(), several=several)
        if truth is None:
            found.undecided += 1
        else:
            found.rows += 1
            found.right += truth == machine[name]
    return found


def agreed(words: Iterable[Review], *, several: bool = False) -> frozenset[str] | None:
    """Returns the class, or classes, that most reviewers of a row say; None where none is.

    None, too, where half of them or more call it unsure or bad audio.
    """
    votes: dict[frozenset[str], int] = {}
    total = 0
    for word in words:
        total += 1
        if word.verdict == "label":
            label = classes_of(word.label)
            votes[label] = votes.get(label, 0) + 1
    best = max(votes.values(), default=0)
    winners = [label for label, number in votes.items() if number == best]
    labelled = sum(votes.values())
    if len(winners) != 1 or 2 * labelled <= total or (len(winners[0]) > 1 and not several):
        return None
    return winners[0]


@lru_cache(maxsize=4096)  # a ledger has millions of labels, and few different ones
def classes_of(label: str) -> frozenset[str]:
    """Returns the classes of a label a;b."""
    return frozenset(part.strip() for part in label.split(";") if part.strip())


def pseudo_labels(run: Path, best: int) -> dict[str, frozenset[str]]:
    """Returns what the round that ships learned of each pool row it took; none of a warm start."""
    if not best or not (run / LEDGER_TABLE).is_file():
        return {}
    table = ledger_of(run, ("id", "accepted"), ("label",), best)
    if "label" not in table:  # valence and arousal have none
        return {}
    own = table[table["accepted"].astype(bool)]
    pairs = zip(own["id"].tolist(), own["label"].tolist(), strict=True)
    return {name: classes_of(label) for name, label in pairs if isinstance(label, str)}


def precision_sentence(path: str | Path, *, asked: bool = False) -> str:
    """Returns what random reviews say of a run's pseudo-labels, or how many are lacking.

    Args:
        path: the folder of a finished run, with its reviews.csv.
        asked: say it also of fewer rows than it takes, and where there is nothing to say.
    """
    path = Path(path)
    reviews, result = read_reviews(path / REVIEWS), read_result(path)
    if result is None or (not reviews and not asked):
        return ""
    best = result["best_round"]
    machine = pseudo_labels(path, best)
    if not machine:
        return "no pseudo-label ships, so there is nothing to be right or wrong" if asked else ""
    found = precision(machine, reviews, several=_several(path))
    lacking = WANTED - found.rows
    wait = (
        f"{found.rows} of the {WANTED} reviews of random rows from which the precision of the "
        f"pseudo-labels is stated: {lacking} more {'is' if lacking == 1 else 'are'} needed"
    )
    if lacking > 0 and not (asked and found.rows):
        return wait
    sentence = f"pseudo-labels of round {best}: {found.words(len(machine))}"
    return f"{sentence}; {wait}" if lacking > 0 else sentence


def _several(run: Path) -> bool:
    """Says whether a row of a run may have several labels."""
    return any("sample_f1" in (record.get("metrics_oof") or {}) for record in shown_records(run))
