"""Answers of a language model as class probabilities; what names no label is an abstention.

Letters: C classes, S samples of one question.
"""

from __future__ import annotations

import json
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.votes import literal
from ..data.wording import shown
from .label_words import LabelWords, without_thoughts

METHODS = ("auto", "logprobs", "json", "samples")
CHOICES = string.ascii_uppercase  # of the choices, where the first token's probabilities are read
LEAST_NAMED = 0.05  # share of the first token that must name labels, or the model did not answer
LABEL_KEYS = ("label", "emotion", "answer", "class", "sentiment", "category")
SURE_KEYS = ("confidence", "probability", "prob", "score", "p")


@dataclass
class ModelReply:
    """What a server sent back for one request."""

    text: str
    top: list[tuple[str, float]] = field(default_factory=list)  # first token: (token, logprob)
    cut: bool = False  # it ended because no more tokens were allowed


@dataclass
class RowVote:
    """What the model makes of one text."""

    probs: list[float] | None  # (C,), summing to 1; None: an abstention
    named: float = 0.0  # share of the answer that names labels
    note: str = ""  # why there is no vote


def vote_of(method: str, replies: Sequence[ModelReply], words: LabelWords, classes: int) -> RowVote:
    """Returns the vote in the replies to one question: (S,) of samples, one otherwise."""
    if method == "logprobs":
        return _by_first_token(replies[0], words, classes)
    if method == "json":
        return _by_object(replies[0], words, classes)
    return _by_count(replies, words, classes)


def _by_first_token(reply: ModelReply, words: LabelWords, classes: int) -> RowVote:
    """Returns the probabilities of the first token: a choice's letter, or how a label begins."""
    if not reply.top:
        return RowVote(None, 0.0, "the server gave no log-probabilities")
    mass = [0.0] * classes
    for token, logprob in reply.top:
        letter = token.strip(" \t\r\n.,:;()[]*\"'`#▁Ġ").upper()
        at = CHOICES.find(letter) if len(letter) == 1 else -1
        found = at if 0 <= at < classes else words.beginning(token.strip("▁Ġ"))
        if found is not None and not math.isnan(logprob):
            mass[found] += math.exp(min(logprob, 0.0))
    named = min(sum(mass), 1.0)
    if named < LEAST_NAMED:
        return RowVote(None, named, _no_label(reply))
    # A label that is not among the tokens given is less likely than the least of them.
    least = math.exp(min([0.0, *(lp for _, lp in reply.top if not math.isnan(lp))]))
    unseen = sum(m == 0 for m in mass)
    floor = min(least, max(1 - named, 1e-6) / max(unseen, 1))
    return RowVote(_shares([m or floor for m in mass]), named)


def _by_object(reply: ModelReply, words: LabelWords, classes: int) -> RowVote:
    """Returns the numbers of a JSON object of labels, or the one label that the answer names."""
    text = without_thoughts(reply.text)
    found = _object_in(text)
    if found is None:
        return _by_count([reply], words, classes)
    numbers, problem = _numbers(found, words, classes)
    if problem:
        return RowVote(None, 0.0, f"{problem}: {shown(text)}")
    if numbers is None:
        return RowVote(None, 0.0, _no_label(reply))
    return RowVote(_shares(numbers), 1.0)


def _by_count(replies: Sequence[ModelReply], words: LabelWords, classes: int) -> RowVote:
    """Returns how often each label is the one that a reply names."""
    counts = [0.0] * classes
    for reply in replies:
        named = words.named(without_thoughts(reply.text))
        if len(named) == 1:
            counts[named.pop()] += 1
    total = sum(counts)
    if not total:
        return RowVote(None, 0.0, _no_label(replies[0]))
    return RowVote(_shares(counts), total / len(replies))


def _no_label(reply: ModelReply) -> str:
    """Returns why an answer is no vote."""
    text = without_thoughts(reply.text)
    if not text:
        return "an empty answer" + (", cut off while it was thinking" if reply.cut else "")
    return f"names no label{', and was cut off' * reply.cut}: {shown(text)}"


def _object_in(text: str) -> Any:
    """Returns the first JSON object or list of objects in a text, None where there is none."""
    decoder = json.JSONDecoder()
    for at, char in enumerate(text):
        if char in "{[":
            try:
                found = decoder.raw_decode(text[at:])[0]
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict) or (found and isinstance(found[0], dict)):
                return found
    begin, end = text.find("{"), text.rfind("}")
    found = literal(text[begin : end + 1]) if 0 <= begin < end else None
    return found if isinstance(found, dict) else None


def _numbers(found: Any, words: LabelWords, classes: int) -> tuple[list[float] | None, str]:
    """Returns the (C,) numbers of an object, None where it names no label; or what is wrong."""
    if isinstance(found, list):  # [{"label": "joy", "probability": 0.7}, ...]
        pairs = [(_first(one, LABEL_KEYS), _first(one, SURE_KEYS)) for one in found
                 if isinstance(one, dict)]  # fmt: skip
        found = {str(label): value for label, value in pairs if label is not None}
    numbers, seen = [0.0] * classes, False
    for name, value in found.items():
        k, number = words.exact(str(name)), _number(value)
        if k is None or number is None:
            continue
        if not (math.isfinite(number) and number >= 0):
            return None, "numbers that are no probabilities"
        numbers[k] += number
        seen = True
    if seen:
        return (numbers, "") if sum(numbers) > 0 else (None, "only zeros")
    for value in found.values():  # {"probabilities": {...}}
        if isinstance(value, (dict, list)) and value:
            inner = _numbers(value, words, classes)
            if inner != (None, ""):
                return inner
    named = words.named(str(_first(found, LABEL_KEYS) or ""))
    if len(named) != 1:
        return None, ""
    sure = _number(_first(found, SURE_KEYS))
    share = sure if sure is not None and 1 / classes < sure <= 1 else 1.0
    others = (1 - share) / max(classes - 1, 1)
    label = named.pop()
    return [share if k == label else others for k in range(classes)], ""


def _first(found: dict, keys: Sequence[str]) -> Any:
    plain = {str(k).strip().lower(): v for k, v in found.items()}
    return next((plain[k] for k in keys if k in plain), None)


def _number(value: Any) -> float | None:
    """Returns a number, also of "0.7", "70 %" or "70%"; None of what is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        percent = text.endswith("%")
        try:
            return float(text.rstrip("% ")) / (100 if percent else 1)
        except ValueError:
            return None
    return float(value) if isinstance(value, (int, float)) else None


def _shares(numbers: Sequence[float]) -> list[float]:
    total = math.fsum(numbers)
    return [n / total for n in numbers]
