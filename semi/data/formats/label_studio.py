"""Label Studio exports: JSON, JSON-MIN and CSV, read into rows with labels or votes.

Layouts: https://labelstud.io/guide/task_format and label_studio_sdk/converter (JSON-MIN and CSV
hold a record for each annotation, so a task may stand there several times; skipped ones do not).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..encodings import decode
from ..tables import Fault, Table
from ..wording import counted
from .cells import HEAD_BYTES, head, header, some, to_table
from .label_studio_json import tasks_of_json
from .label_studio_min import tasks_of_records
from .label_studio_sounds import audio_key, sound_of
from .label_studio_tasks import AnnotationTask

LABEL_NAMES = (
    "emotion",
    "emotions",
    "label",
    "sentiment",
    "choice",
    "choices",
    "category",
    "class",
)


def recognises(path: Path) -> bool:
    """Says whether `path` is an export, by the keys that only Label Studio writes."""
    if not path.is_file():
        return False
    if path.suffix.lower() in (".csv", ".tsv"):
        return {"annotator", "annotation_id", "lead_time"} <= set(header(path))
    return path.suffix.lower() == ".json" and _kind(path) is not None


def _kind(path: Path) -> str | None:
    start = head(path)
    if not re.match(r"\s*[\[{]", start):
        return None
    if re.search(r'^\s*\[\s*{("id"\s*:\s*\d+\s*,)?\s*"data"\s*:\s*{', start):
        return "JSON"  # also before anybody annotated
    if '"data"' in start and len(start) > HEAD_BYTES // 2:  # the texts in front may be long
        start = decode(path.read_bytes(), path)[0]
    if re.search(r'"(annotations|completions)"\s*:\s*\[', start) and re.search(
        r'"data"\s*:\s*{', start
    ):
        return "JSON"
    minimal = re.search(r'"annotation_id"\s*:', start) and re.search(r'"annotator"\s*:', start)
    return "JSON-MIN" if minimal and re.match(r"\s*\[", start) else None


def read(path: Path, root: Path) -> Table:
    """Returns a row for each task, or for each span of sound that somebody labelled in it.

    Several annotators give votes; skipped tasks and those without an annotation have no label.
    """
    kind = "CSV" if path.suffix.lower() != ".json" else _kind(path) or "JSON"
    tasks, faults = tasks_of(path)
    label, notes = label_control(tasks, kind)
    records, rows = [], []
    for task in tasks:
        shared = _shared(task, root, faults)
        if shared is not None:  # else its sound is not here, which is a fault
            found = _records(task, shared, label)
            records += found
            rows += [task.row] * len(found)
    if records and not any({"audio", "text"} & set(record) for record in records):
        notes.append("no task names a sound or a text")
    summary = ", ".join(_counts(tasks, records, label))
    notes.insert(0, f"read as a Label Studio export ({kind}): {summary}")
    return to_table(records, rows, notes, faults)


def tasks_of(path: Path) -> tuple[list[AnnotationTask], list[Fault]]:
    """Returns the tasks of an export of any kind, and what is none."""
    faults: list[Fault] = []
    if path.suffix.lower() == ".json" and _kind(path) in ("JSON", None):
        return tasks_of_json(path, faults), faults
    return tasks_of_records(path, faults), faults


def _records(
    task: AnnotationTask, shared: dict[str, Any], label: str | None
) -> list[dict[str, Any]]:
    """Returns a record for every labelled span of a task, or one where there are none."""
    records = []
    spans = sorted({span for answer in task.answers for span in answer.spans})
    for number, span in enumerate(spans or [None], 1):
        values: dict[str, list[Any]] = {}
        for answer in task.answers:
            here = answer.spans.get(span, {}) if span else {}
            if span and not here:
                continue  # another annotator's span
            for name, value in {**answer.whole, **here}.items():
                values.setdefault(name, []).append(value)
        record = {"id": task.id, **shared}
        if span:
            record |= {"id": f"{task.id}-{number}", "start": span[0], "end": span[1]}
        records.append({**record, **_cells(values, label, record)})
    return records


def _counts(tasks: list[AnnotationTask], records: list[dict], label: str | None) -> list[str]:
    """Returns how many tasks and rows there are, and how many of each kind worth telling."""
    answers = [answer for task in tasks for answer in task.answers]
    given = [answer.whole.get(label or "") for answer in answers]
    counts = {
        "with votes of several annotators": sum("votes" in record for record in records)
        if len(answers) > len([task for task in tasks if task.answers])
        else 0,
        "with several labels": sum(isinstance(c, list) and len(c) > 1 for c in given),
        "skipped or not annotated, without a label": sum(not task.answers for task in tasks),
    }
    rows = [counted(len(records), "row")] if len(records) != len(tasks) else []
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return [counted(len(tasks), "task"), *rows, *parts]


def label_control(tasks: Sequence[AnnotationTask], kind: str) -> tuple[str | None, list[str]]:
    """Returns the control whose choices are the label, and a sentence on the others."""
    choices = Counter(
        name
        for task in tasks
        for answer in task.answers
        for part in (answer.whole, *answer.spans.values())
        for name, value in part.items()
        if isinstance(value, list) or (kind != "JSON" and name.lower() in LABEL_NAMES)
    )
    answered = sorted({name for task in tasks for answer in task.answers for name in answer.whole})
    if not choices and answered:
        names = some(answered, 12)
        return None, [f"which control is the label cannot be told ({names}): export it as JSON"]
    if not choices:
        return None, ["no control of choices or labels was answered: no row has a label"]
    known = {name.lower(): name for name in choices}
    best = next((known[name] for name in LABEL_NAMES if name in known), None)
    if best is None and len(choices) > 1:
        names = some(sorted(choices), 12)
        return None, [f"several controls hold choices ({names}), none called label or emotion"]
    best = best or next(iter(choices))
    others = sorted(set(choices) - {best})
    note = f"; {', '.join(others)} carried along" if others else ""
    return best, [f"the control {best} gives the label{note}"]


def _shared(task: AnnotationTask, root: Path, faults: list[Fault]) -> dict[str, Any] | None:
    """Returns the cells that all rows of a task have: its data, with the sound if it is here."""
    data = {"data_id" if k.lower() == "id" else k: v for k, v in task.data.items()}
    data = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in data.items()}
    key = audio_key(data)
    if key is None:
        return data
    value = str(data.pop(key))
    sound, reason, remedy = sound_of(value, root)
    if reason:
        faults.append((task.row, "audio", value[:120], reason, remedy))
        return None
    return {"audio": sound, **data}


def _cells(values: dict[str, list[Any]], label: str | None, taken: dict) -> dict[str, Any]:
    """Returns the cells of one row: label or votes, means of numbers, else the first answer."""
    out: dict[str, Any] = {}
    for name, answers in values.items():
        if name == label:
            lists = [a if isinstance(a, list) else [str(a)] for a in answers]
            if len(lists) == 1 and not any(";" in choice for choice in lists[0]):
                out["label"] = ";".join(lists[0])
                continue
            votes: dict[str, float] = {}
            for chosen in lists:
                for choice in chosen:
                    votes[choice] = votes.get(choice, 0.0) + 1.0 / len(chosen)
            out["votes"] = json.dumps(votes, ensure_ascii=False)
            continue
        column = f"{name}_answer" if name in taken or name.lower() in ("label", "votes") else name
        numbers = [a for a in answers if isinstance(a, (int, float)) and not isinstance(a, bool)]
        if numbers:
            out[column] = sum(numbers) / len(numbers)
        else:
            first = answers[0]
            out[column] = ";".join(map(str, first)) if isinstance(first, list) else first
    return out
