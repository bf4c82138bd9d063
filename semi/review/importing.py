"""What people said elsewhere, brought into a run's reviews.csv: each word once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data.formats import label_studio
from ..data.reviewed import classes_in, instant
from ..data.reviews import REVIEWS, Review, append_reviews, read_reviews, standing
from ..data.wording import counted, listed, nearest, shown
from ..errors import RunError
from ..files import read_table
from ..runs.reopen import result_of
from ..self_training.model_dir import load_model
from ..self_training.run_dir import Run
from .label_studio import read_export
from .sheet import Refused, read_sheet


@dataclass
class Imported:
    """What came of an import."""

    source: str
    target: str
    read: int  # words
    new: int  # of them, written now
    known: int  # said before by the same reviewer
    older: int  # than what the same reviewer said of that row since
    again: int  # words that a later line of the file overrules
    refused: Refused = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    named_by_file: bool = False  # nobody said who it is

    def __str__(self) -> str:
        """Returns the counts, and why what is refused is refused."""
        parts = [f"{self.new:,} new", f"{self.known:,} there already"]
        if self.older:
            parts.append(f"{self.older:,} older than what the same reviewer said since")
        if self.again:
            parts.append(f"{self.again:,} overruled by a later line of the same reviewer")
        who = listed([shown(name, 40) or "nobody by name" for name in self.reviewers], 5)
        lines = [
            f"{self.source}: {counted(self.read, 'review')} read" + (f" of {who}" if who else "")
            + f", {', '.join(parts)}, {len(self.refused):,} refused; {self.target}"
        ]  # fmt: skip
        if self.named_by_file:
            lines.append("who said it is not in the file: its name stands for the reviewer, or "
                         "--reviewer NAME")  # fmt: skip
        for reason, count in Counter(why for _, why in self.refused).most_common(8):
            first = [shown(what, 40) for what, why in self.refused if why == reason]
            lines.append(f"refused: {reason} ({count:,}: {listed(first, 3)})")
        return "\n".join(lines)


def import_reviews(run: str | Path, path: str | Path, *, reviewer: str = "") -> Imported:
    """Adds what people said elsewhere to `RUN/reviews.csv`; what is there already is not added.

    A row that the run does not have, and a label that is none of its classes, are refused one by
    one. RunError where nothing can be read.

    Args:
        run: the run's folder.
        path: a filled table of --export csv, a reviews.csv, or an export of Label Studio.
        reviewer: who said it, where the file does not; '' = the name of the file.
    """
    opened, path = Run.open(run), Path(path)
    result_of(opened)
    if opened.config.task.kind == "affect":
        raise RunError(f"{run} has task.kind=affect: reviews name classes, which it has none of")
    if not path.is_file():
        what = "is a folder; name the file in it" if path.is_dir() else "no such file"
        raise RunError(f"{path}: {what}")
    classes = load_model(opened.path / "model").classes
    given, refused = _read(path, reviewer or path.stem, classes)
    own_name = opened.path.resolve().name
    ids = set(read_table(opened.path / "splits.csv", ("id",))["id"])
    fit: list[Review] = []
    for review in given:
        names = classes_in(review.label, classes, opened.config.data)
        if review.id not in ids:
            refused.append((review.id, "no row of this run"))
        elif names is None:
            near = nearest(review.label, classes)
            refused.append((review.id, f"'{shown(review.label, 40)}' is none of its classes{near}"))
        else:
            fit.append(replace(review, label=";".join(names), run=review.run or own_name))
    target = opened.path / REVIEWS
    new, known, older = _news(fit, read_reviews(target))
    if new:
        append_reviews(target, new)
    who = sorted({review.reviewer for review in fit})
    bare = not reviewer and who == [path.stem]
    total = len(fit) + len(refused)
    again = len(new) - len({(r.id, r.reviewer) for r in new if r.verdict != "undo"})
    again -= sum(review.verdict == "undo" for review in new)
    return Imported(
        str(path), str(target), total, len(new), known, older, again, refused, who, bare
    )


def _read(path: Path, reviewer: str, classes: Sequence[str]) -> tuple[list[Review], Refused]:
    if path.suffix.lower() == ".json" or label_studio.recognises(path):
        return read_export(path)
    return read_sheet(path, reviewer, classes)


def _news(given: Sequence[Review], before: list[Review]) -> tuple[list[Review], int, int]:
    """Returns the words that are not there yet, how many are, and how many were overtaken.

    A word with a time is known by it; one without by what it says, and a word on a random pick is
    news where it was said of another pick alone: it measures precision. What is older than the same
    reviewer's standing word on the row would otherwise take that back.
    """
    timed = {(*_key(review), review.time) for review in before}
    spoken = {_key(review) for review in before}
    drawn = {_key(review) for review in before if review.pick == "random"}
    last = standing(before)
    new: list[Review] = []
    known = older = 0
    for review in given:
        now = last.get(review.id, {}).get(review.reviewer)
        before_it = drawn if review.pick == "random" else spoken
        if (*_key(review), review.time) in timed if review.time else _key(review) in before_it:
            known += 1
        elif review.time and now is not None and instant(review.time) < instant(now.time):
            older += 1
        else:
            new.append(review)
    return new, known, older


def _key(review: Review) -> tuple[str, str, str, str]:
    return review.id, review.reviewer, review.verdict, review.label
