"""What all exports of Label Studio come to: tasks, each with the answers of its annotators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..row_ids import content_id, numbered

Span = tuple[float, float]  # seconds


@dataclass
class Answer:
    """What one annotator said: of the whole sound, and of spans of it.

    Values by the control's name: a list of choices, a text, or a number.
    """

    whole: dict[str, Any] = field(default_factory=dict)
    spans: dict[Span, dict[str, Any]] = field(default_factory=dict)
    annotator: str = ""  # address or number in Label Studio
    time: str = ""  # of the last change, as exported


@dataclass
class AnnotationTask:
    """One item that was shown to annotators."""

    row: int  # from 1, or the line of a CSV
    id: str
    data: dict[str, Any]
    answers: list[Answer] = field(default_factory=list)  # none where it was skipped
    skipped: list[Answer] = field(default_factory=list)  # of those who passed it over


def task_ids(tasks: Sequence[tuple[Any, Mapping, Mapping]]) -> list[str]:
    """Returns (N,) ids of tasks (id or None, data, all of it); without one the data name it."""
    free = [i for i, (name, *_) in enumerate(tasks) if name is None]
    made = [content_id(tasks[i][1].get("text"), sorted(tasks[i][1].items())) for i in free]
    made = numbered(made, [repr(tasks[i][2]) for i in free])
    names = {i: name for i, name in zip(free, made, strict=True)}
    return [names[i] if name is None else str(name) for i, (name, *_) in enumerate(tasks)]


def by_whom(answer: Answer, annotation: Mapping[str, Any]) -> Answer:
    """Returns an answer with the annotator and the time that an annotation names."""
    who = annotation.get("completed_by", annotation.get("annotator"))
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    answer.annotator = "" if who is None else str(who)
    answer.time = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    return answer


def span_of(value: dict) -> Span | None:
    """Returns the seconds of a labelled region of sound, None for anything else.

    Regions of text carry start and end too, as characters, and the text itself.
    """
    if "text" in value and ("labels" in value or "hypertextlabels" in value):
        return None
    try:
        return round(float(value["start"]), 6), round(float(value["end"]), 6)
    except (KeyError, TypeError, ValueError):
        return None


def content_of(value: Any) -> Any:
    """Returns the choices (a list), text or number in a result's value, None for anything else."""
    if not isinstance(value, dict):
        return value
    for key in ("choices", "labels"):
        if isinstance(value.get(key), list):
            return [str(choice) for choice in value[key]]
        if isinstance(value.get(key), str):
            return [value[key]]
    taxonomy = value.get("taxonomy")
    if isinstance(taxonomy, list):  # paths from the root; the leaf is what was meant
        return [str(path[-1]) for path in taxonomy if path]
    text = value.get("text")
    if text is not None:
        return " ".join(map(str, text)) if isinstance(text, list) else str(text)
    for key in ("number", "rating"):
        if isinstance(value.get(key), (int, float)):
            return value[key]
    return None


def add(part: dict[str, Any], name: str, content: Any) -> None:
    """Adds a control's content; choices of the same control are joined."""
    if content is None or content == []:
        return
    if isinstance(content, list) and isinstance(part.get(name), list):
        content = list(dict.fromkeys([*part[name], *content]))
    part[name] = content
