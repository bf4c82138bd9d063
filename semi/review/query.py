"""Which utterances a list shows, and in which order: filters, text search, sorting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..data.reviews import Review
from ..evaluation.reviewed_precision import WANTED
from .recommended import recommended
from .rows import HELD_OUT, ReviewTable
from .words import Words

PARTS = {"pool": ("pool",), "labeled": ("labeled",), "held-out": HELD_OUT, "unused": ("unused",)}
SORTS = ("id", "confidence", "margin", "flips", "contradiction", "first_round", "speaker", "said")
ORDERS = ("recommended", "next", "suspects", *SORTS)
REVIEWED = ("any", "todo", "done", "label", "unsure", "bad_audio", "changed")
YES_NO = ("any", "yes", "no")
LONGEST = 200  # letters of a search


@dataclass(frozen=True)
class Query:
    """One list: what is asked of it, as it stands in the page's requests."""

    order: str = "recommended"  # one of ORDERS
    descending: str = "no"
    part: str = "pool"  # one of PARTS: held-out rows are never among others
    machine: str = ""  # label that it gave
    speaker: str = ""
    round: str = ""  # that first learned from it; 'never'
    chosen: str = "any"
    flipped: str = "any"
    contradicted: str = "any"  # a modality says something else
    margin: str = ""  # below so much, 0 to 1
    reviewed: str = "any"  # by whoever asks; one of REVIEWED
    q: str = ""  # part of the id or of the text

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field that cannot be used."""
        allowed = {"order": ORDERS, "descending": YES_NO[1:], "part": tuple(PARTS),
                   "chosen": YES_NO, "flipped": YES_NO, "contradicted": YES_NO,
                   "reviewed": REVIEWED}  # fmt: skip
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}")
        if self.round not in ("", "never") and not (self.round.isdecimal() and len(self.round) < 6):
            raise ValueError("round must be a number, or never")
        if self.margin and not re.fullmatch(r"[01](\.\d{1,6})?", self.margin, re.ASCII):
            raise ValueError("margin must be a number from 0 to 1, such as 0.2")
        if len(self.q) > LONGEST:
            raise ValueError(f"a search has at most {LONGEST} letters")

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Query:
        """Returns the query of a request; what it does not name is as it is by default."""
        return cls(**{f.name: given[f.name] for f in fields(cls) if f.name in given})

    @property
    def filtered(self) -> bool:
        """True where anything but the order and what is done narrows the list."""
        plain = Query(order=self.order, reviewed=self.reviewed)
        return self != plain


class Index:
    """The columns of a table as arrays, so that a list of 100,000 rows takes milliseconds."""

    def __init__(self, table: ReviewTable) -> None:
        """Takes the columns of the table (N rows)."""
        self.table = table
        self.columns = table.columns
        self.order, self.is_random = recommended(table)
        self.random = set(self.columns["id"][self.order[self.is_random]])
        # texts compare fast as numbers
        self._codes = {
            name: np.unique(_texts(self.columns[name]), return_inverse=True)
            for name in ("role", "said", "speaker")
        }
        both = zip(self.columns["id"], _texts(self.columns["text"]), strict=True)
        joined = [f"{name} {text}".lower() for name, text in both]
        self.searched = pa.array(joined, pa.large_string())

    def select(self, query: Query, own: Mapping[str, Review], drawn: set[str]) -> np.ndarray:
        """Returns the numbers of the rows of a list (n,), in its order.

        Args:
            query: what is asked.
            own: id -> last word of whoever asks.
            drawn: ids judged as a random pick, by anybody.
        """
        keep = self._is("role", PARTS[query.part])
        for name, value in (("said", query.machine), ("speaker", query.speaker)):
            if value:
                keep &= self._is(name, (value,))
        if query.round:
            wanted = -1 if query.round == "never" else int(query.round)
            keep &= self.columns["first_round"] == wanted
        for value, yes in (
            (query.chosen, self.columns["chosen"].astype(bool)),
            (query.flipped, self.columns["flips"] > 0),
            (query.contradicted, self.columns["contradiction"] > 0),
        ):
            if value != "any":
                keep &= yes == (value == "yes")
        if query.margin:
            keep &= self.columns["margin"] < float(query.margin)
        if query.q:
            found = pc.call_function(
                "match_substring", [self.searched], pc.MatchSubstringOptions(query.q.lower())
            )
            keep &= found.to_numpy(zero_copy_only=False)
        if query.reviewed != "any":
            keep &= self._reviewed(query, own, drawn)
        return self._sorted(keep, query)

    def pick(self, name: str, query: Query) -> str:
        """Returns how a reviewer came to a row of this list, as reviews.csv names it."""
        if query.order == "recommended" and not query.filtered:
            return "random" if name in self.random else "next"
        if query.order == "next" and "next" in self.columns and not query.filtered:
            return "random" if self.columns["next_random"][self.table.number[name]] else "next"
        return {"next": "next", "suspects": "suspect"}.get(query.order, "browse")

    def _is(self, name: str, values: tuple[str, ...]) -> np.ndarray:
        known, codes = self._codes[name]
        return np.isin(codes, np.flatnonzero(np.isin(known, values)))

    def to_do(self, name: str, query: Query, own: Mapping[str, Review], drawn: set[str]) -> bool:
        """Says whether a row is still to be judged in this list.

        A random one is, also where it was judged elsewhere: those that were looked for are not
        drawn at random, and without them the rest would be no sample.

        Args:
            name: id of the row.
            query: of the list.
            own: id -> last word of whoever asks.
            drawn: ids judged as a random pick, by anybody.
        """
        return name not in drawn if self.pick(name, query) == "random" else name not in own

    def _reviewed(self, query: Query, own: Mapping[str, Review], drawn: set[str]) -> np.ndarray:
        """Returns which rows (N,) whoever asks is done with, or has judged so."""
        number, kept = self.table.number, np.zeros(len(self.table), dtype=bool)
        if query.reviewed == "todo":
            kept[:] = True
            for name in {*own, *drawn} & number.keys():
                kept[number[name]] = self.to_do(name, query, own, drawn)
            return kept
        for name in own.keys() & number.keys():
            review, machine_label = own[name], self.columns["said"][number[name]]
            kept[number[name]] = {
                "changed": review.verdict == "label" and review.label != machine_label,
                "done": True,
            }.get(query.reviewed, review.verdict == query.reviewed)
        return kept

    def _sorted(self, keep: np.ndarray, query: Query) -> np.ndarray:
        if query.order == "recommended":
            if query.part == "pool":
                return self.order[keep[self.order]]
            rows, key = np.flatnonzero(keep), self.columns["margin"]
        elif query.order in ("next", "suspects"):
            key = self.columns.get(query.order)
            if key is None:
                return np.empty(0, dtype=np.int64)
            rows = np.flatnonzero(keep & ~np.isnan(key))
        elif query.order == "id":
            rows, key = np.flatnonzero(keep), np.arange(len(keep))
        else:
            rows = np.flatnonzero(keep)
            codes = self._codes.get(query.order)
            key = self.columns[query.order] if codes is None else codes[1]
        key = key[rows].astype(float)
        # unknown values stand last, ties in the order of their ids
        key = -key if query.descending == "yes" else key
        return rows[np.argsort(key, kind="stable")]


def _texts(cells: np.ndarray) -> np.ndarray:
    """Returns cells as text, '' for None."""
    return np.array([cell if isinstance(cell, str) else "" for cell in cells], dtype=str)


def progress(index: Index, words: Words, reviewer: str) -> dict[str, int]:
    """Returns how many rows a reviewer has judged, and how many random ones are done of WANTED."""
    number, role = index.table.number, index.columns["role"]
    drawn = [n for n in words.picked("random") if n in number and role[number[n]] == "pool"]
    return {"reviewed": len(words.own(reviewer)), "random": len(drawn), "wanted": WANTED}
