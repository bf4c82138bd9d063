"""Label Studio both ways: tasks with what the machine says, and the export of annotators' answers.

Formats: https://labelstud.io/guide/tasks (data and predictions),
https://labelstud.io/guide/export (annotations), https://labelstud.io/guide/storage (local files).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ..data.formats import label_studio
from ..data.formats.label_studio_tasks import AnnotationTask, Answer
from ..data.reviewed import OUT
from ..data.reviews import PICKS, Review
from ..data.wording import counted
from ..errors import RunError
from ..files import write_json, write_text
from .batch import BatchRow
from .sheet import Refused

LABEL_CONTROL, VERDICT_CONTROL = "label", "verdict"
LOCAL_FILES = "data/local-files/"  # below the server's address, of its storage of local files
ID_KEY = "utterance_id"  # in a task's data; `id` is the task's own number in some exports


def write_tasks(
    path: Path, rows: Sequence[BatchRow], run: str, classes: Sequence[str], *, several: bool
) -> list[str]:
    """Writes tasks and, beside them, the labelling interface; returns how to go on.

    Args:
        path: the JSON file to write; the interface gets the suffix .xml.
        rows: what is to be labelled.
        run: name of the run, the model_version of its predictions.
        classes: the choices.
        several: whether a row may have several.
    """
    heard = [row for row in rows if row.audio]
    shown = heard or list(rows)
    root = _root([row.audio for row in heard])
    target = "audio" if heard else "text"
    tasks = [_task(row, run, root, target) for row in shown]
    write_json(path, tasks)
    config = path.with_suffix(".xml")
    parts = any(row.start is not None or row.end is not None for row in heard)
    write_text(config, interface(classes, audio=bool(heard), several=several, parts=parts))
    notes = [f"{path}: {counted(len(tasks), 'task')}; labelling interface: {config}"]
    if len(shown) < len(rows):
        left = counted(len(rows) - len(shown), "row")
        notes.append(f"{left} without a sound left out; --export csv takes them")
    if heard:
        notes.append(
            "to hear the sounds, start Label Studio with "
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root.parent} and add the folder {root} under "
            "Settings > Cloud Storage > Local files"
        )
    return [*notes, "export as JSON, then: semi review RUN --import export.json"]


def interface(classes: Sequence[str], *, audio: bool, several: bool, parts: bool = False) -> str:
    """Returns the labelling interface of our tasks, as Label Studio's XML.

    Where utterances are `parts` of their sounds, a line says which seconds are meant.
    """
    target = "audio" if audio else "text"
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in classes)
    out = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in OUT)
    many = "multiple" if several else "single"
    sound = '  <Header value="$part"/>\n' if parts else ""
    sound += '  <Audio name="audio" value="$audio"/>\n' if audio else ""
    return (
        f'<View>\n{sound}  <Text name="text" value="$text"/>\n'
        f'  <Choices name="{LABEL_CONTROL}" toName="{target}" choice="{many}" showInline="true">\n'
        f"{choices}  </Choices>\n"
        f'  <Choices name="{VERDICT_CONTROL}" toName="{target}" choice="single" '
        f'showInline="true">\n{out}  </Choices>\n</View>\n'
    )


def _root(sounds: Sequence[str]) -> Path:
    """Returns the folder that all sounds lie in."""
    folders = [os.path.dirname(os.path.abspath(sound)) for sound in sounds]
    return Path(os.path.commonpath(folders)) if folders else Path()


def _task(row: BatchRow, run: str, root: Path, target: str) -> dict[str, Any]:
    """Returns a task; Label Studio serves what lies beneath the folder above `root`."""
    data: dict[str, Any] = {ID_KEY: row.id, "text": row.text}
    if row.audio:
        inside = Path(os.path.abspath(row.audio)).relative_to(root.parent).as_posix()
        data["audio"] = f"/{LOCAL_FILES}?d={quote(inside)}"
        data["part"] = _part(row)
    data |= {
        name: value for name in ("start", "end", "machine_label", "machine_confidence", "pick")
        if (value := getattr(row, name)) not in (None, "")
    } | {"run": run}  # fmt: skip
    if not row.machine_label:
        return {"data": data}
    result = {
        "from_name": LABEL_CONTROL, "to_name": target, "type": "choices",
        "value": {"choices": row.machine_label.split(";")},
    }  # fmt: skip
    prediction: dict[str, Any] = {"model_version": run, "result": [result]}
    if row.machine_confidence is not None:
        prediction["score"] = row.machine_confidence
    return {"data": data, "predictions": [prediction]}


def _part(row: BatchRow) -> str:
    """Returns which seconds of its sound an utterance is, in words."""
    if row.start is None and row.end is None:
        return "all of the sound"
    end = f"{row.end:g} s" if row.end is not None else "its end"
    return f"only from {row.start or 0:g} s to {end}"


def read_export(path: Path) -> tuple[list[Review], Refused]:
    """Returns a review for each annotation of an export, and what is refused.

    Who skipped a task is unsure. A task is known by its data's utterance_id, or id.
    """
    tasks, refused = _tasks(path)
    control = _control(tasks)
    found: list[Review] = []
    for task in tasks:
        name = str(task.data.get(ID_KEY) or task.data.get("id") or "")
        if not name:
            refused.append((f"task {task.id}", f"its data have no {ID_KEY}"))
            continue
        common: dict[str, Any] = {"id": name} | {
            key: str(task.data.get(key) or "")
            for key in ("run", "machine_label", "machine_confidence")
        }
        pick = str(task.data.get("pick") or "")
        common["pick"] = pick if pick in PICKS else "import"
        for answer in task.answers:
            verdict, label = _words(answer, control)
            if not verdict:
                what = "labels of parts of a sound" if answer.spans else "no label"
                refused.append((f"task {task.id}", f"its annotation holds {what}"))
                continue
            found.append(_review(common, verdict, label, answer))
        found += [_review(common, "unsure", "", answer) for answer in task.skipped]
    return found, refused


def _tasks(path: Path) -> tuple[list[AnnotationTask], Refused]:
    tasks, faults = label_studio.tasks_of(path)
    return tasks, [(f"task {row}", reason) for row, _, _, reason, _ in faults]


def _control(tasks: Sequence[AnnotationTask]) -> str:
    """Returns the control whose choices are the label: ours, or the only one that can be."""
    names = {name for task in tasks for answer in task.answers for name in answer.whole}
    if LABEL_CONTROL in names or not names - {VERDICT_CONTROL}:
        return LABEL_CONTROL
    found, notes = label_studio.label_control(tasks, "JSON")
    if found is None:
        raise RunError(f"{notes[0]}; name the control that is the label '{LABEL_CONTROL}'")
    return found


def _words(answer: Answer, control: str) -> tuple[str, str]:
    """Returns the verdict and label of an answer, ('', '') where it has none."""
    verdict = answer.whole.get(VERDICT_CONTROL)
    verdict = verdict[0] if isinstance(verdict, list) and verdict else verdict
    if verdict in OUT:
        return str(verdict), ""
    label = answer.whole.get(control)
    label = ";".join(map(str, label)) if isinstance(label, list) else str(label or "")
    return ("label", label) if label else ("", "")


def _review(common: dict[str, Any], verdict: str, label: str, answer: Answer) -> Review:
    who = answer.annotator
    who = f"annotator {who}" if who.isdigit() else who
    return Review(**common, verdict=verdict, label=label, reviewer=who, time=answer.time)
