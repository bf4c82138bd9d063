"""Label Studio's full JSON: a list of tasks, each with data and annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..encodings import decode
from ..json_text import loads
from ..tables import Fault
from .cells import damaged
from .label_studio_tasks import AnnotationTask, Answer, add, by_whom, content_of, span_of, task_ids


def tasks_of_json(path: Path, faults: list[Fault]) -> list[AnnotationTask]:
    """Returns the tasks of an export; what is no task becomes a fault."""
    try:
        content = loads(decode(path.read_bytes(), path)[0].lstrip("\ufeff"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise damaged(path, "JSON export of Label Studio", error) from None
    tasks, items = [], []
    for row, item in enumerate(content if isinstance(content, list) else [content], 1):
        if not isinstance(item, dict) or not isinstance(item.get("data"), dict):
            remedy = "export the project once more"
            faults.append((row, "", str(item)[:60], "not a task of Label Studio", remedy))
            continue
        task = AnnotationTask(row, "", item["data"])
        items.append((item.get("id"), item["data"], item))
        given = item.get("annotations", item.get("completions")) or []
        for annotation in given:
            if not isinstance(annotation, dict):  # an export of ids alone
                reason = "the export holds the annotations' ids alone"
                faults.append((row, "annotations", str(annotation), reason, "export it as JSON"))
            else:
                answer = by_whom(_answer(annotation.get("result") or []), annotation)
                if annotation.get("was_cancelled") or annotation.get("skipped"):
                    task.skipped.append(answer)
                elif answer.whole or answer.spans:
                    task.answers.append(answer)
        tasks.append(task)
    for task, name in zip(tasks, task_ids(items), strict=True):
        task.id = name
    return tasks


def _answer(results: list[Any]) -> Answer:
    """Returns one annotation's results by control; those of a region go to its span."""
    answer = Answer()
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue  # a relation between regions
        span, name = span_of(value), str(result.get("from_name", "label"))
        if "text" in value and "start" in value and span is None:
            continue  # words marked in a text
        part = answer.whole if span is None else answer.spans.setdefault(span, {})
        add(part, name, content_of(value))
    return answer
