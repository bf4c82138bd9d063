"""Label Studio's JSON-MIN and CSV: a record for each annotation, joined again to tasks."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..encodings import decode
from ..json_text import loads
from ..tables import Fault
from .cells import damaged, plain_table
from .label_studio_tasks import AnnotationTask, Answer, add, by_whom, content_of, span_of, task_ids

META = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
ANSWERS = (  # controls that go by these names also where their place does not show it
    *("emotion", "emotions", "label", "sentiment", "choice", "choices", "category", "class"),
    *("transcription", "valence", "arousal"),
)


def tasks_of_records(path: Path, faults: list[Fault]) -> list[AnnotationTask]:
    """Returns the tasks; records of one task are its annotators, in the file's order."""
    if path.suffix.lower() == ".json":
        numbered = _json_records(path, faults)
    else:
        table = plain_table(path)
        faults += table.faults
        records = [_parsed(record) for record in table.frame.to_dict("records")]
        numbered = list(zip(table.rows, records, strict=True))
    controls = _controls([record for _, record in numbered])
    tasks: dict[str, AnnotationTask] = {}
    skipped = {*controls, *META, "id"}
    given = [{k: v for k, v in record.items() if k not in skipped} for _, record in numbered]
    names = task_ids([(record.get("id"), data, record) for (_, record), data in zip(
        numbered, given, strict=True)])  # fmt: skip
    for (row, record), data, name in zip(numbered, given, names, strict=True):
        task = tasks.setdefault(name, AnnotationTask(row, name, data))
        answer = _answer({k: record[k] for k in controls if k in record}, row, faults)
        by_whom(answer, record)
        if answer.whole or answer.spans:
            task.answers.append(answer)
    return list(tasks.values())


def _json_records(path: Path, faults: list[Fault]) -> list[tuple[int, dict]]:
    try:
        content = loads(decode(path.read_bytes(), path)[0].lstrip("\ufeff"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise damaged(path, "JSON-MIN export of Label Studio", error) from None
    found = []
    for row, record in enumerate(content, 1):
        if isinstance(record, dict):
            found.append((row, record))
        else:
            remedy = "export the project once more"
            faults.append((row, "", str(record)[:60], "not a record of Label Studio", remedy))
    return found


def _parsed(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a CSV's cells, where several choices and regions are JSON within the cell."""
    out = {}
    for name, cell in record.items():
        if isinstance(cell, str) and cell[:1] in "[{" and cell:
            with suppress(json.JSONDecodeError, RecursionError):
                cell = loads(cell)
        if cell is not None and cell != "":
            out[name] = cell
    return out


def _controls(records: list[dict]) -> list[str]:
    """Returns the keys that are answers: between id and annotator, or known by name or shape."""
    found: dict[str, None] = {}
    for record in records:
        keys = list(record)
        at = keys.index("id") if "id" in keys else len(keys)
        end = keys.index("annotator") if "annotator" in keys else len(keys)
        for position, key in enumerate(keys):
            shape = isinstance(record[key], dict) and {"choices", "text"} & set(record[key])
            if key not in META and (at < position < end or shape or key.lower() in ANSWERS):
                found[key] = None
    return [key for key in found if key != "id"]


def _answer(given: dict[str, Any], row: int, faults: list[Fault]) -> Answer:
    answer = Answer()
    loose = []
    for name, value in given.items():
        items = value if isinstance(value, list) else [value]
        for item in items:
            span = span_of(item) if isinstance(item, dict) else None
            content = content_of(item)
            if span is not None:
                add(answer.spans.setdefault(span, {}), name, content)
            elif isinstance(value, list) and not isinstance(item, dict):
                add(answer.whole, name, [str(item)])
                loose.append(name)
            else:
                add(answer.whole, name, content)
    if loose and answer.spans:  # which region a choice belongs to is not in this kind of export
        reason = "choices of regions, without the region that each belongs to"
        faults.append(
            (row, loose[0], "", reason, "export the project as JSON, not JSON-MIN or CSV")
        )
    return answer
