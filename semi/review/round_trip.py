"""`semi review RUN --export | --import | --precision`: reviews by other means than the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.wording import counted
from ..errors import RunError
from ..evaluation.reviewed_precision import precision_sentence
from ..runs.reopen import result_of
from ..self_training.run_dir import Run
from .batch import batch_of
from .done_rows import done_rows
from .importing import import_reviews
from .label_studio import write_tasks
from .rows import review_table
from .sheet import write_sheet

EXPORTS = {"csv": (".csv",), "label-studio": (".json",)}  # kind -> suffixes of its file


def export_reviews(
    run: str | Path, kind: str, path: str | Path, *, rows: str = "", count: int | None = None,
    again: bool = False, reviewer: str = "", places: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """Writes rows of a run to be labelled elsewhere; returns sentences on what was written.

    Args:
        run: the run's folder.
        kind: csv, a table to fill in, or label-studio, tasks with the run's predictions.
        path: the file to write.
        rows: a table whose column id names the rows; '' = the pool, most worth a word first.
        count: the first so many; None = all.
        again: also those that the reviewer has judged, or without one anybody.
        reviewer: who is to label them.
        places: where the run's data are now, such as data.manifest=moved/table.csv.
    """
    path = Path(path)
    if kind not in EXPORTS:
        raise RunError(f"--export writes {' or '.join(EXPORTS)}, got '{kind}'")
    if path.suffix.lower() not in EXPORTS[kind] or path.is_dir():
        name = f"rows{EXPORTS[kind][0]}"
        raise RunError(f"--export {kind} writes a file such as {name}, got '{path}'")
    table = review_table(run, places)
    if not table.classes:
        raise RunError(f"{run} has task.kind={table.kind}: people cannot name classes, it has none")
    done = None if again else done_rows(table.path, reviewer)
    batch, notes = batch_of(table, rows, count, done)
    if kind == "label-studio":
        written = write_tasks(path, batch, table.name, table.classes, several=table.several)
        return [*written, *notes]
    write_sheet(path, batch, table.name)
    random = sum(row.pick == "random" for row in batch)
    return [
        f"{path}: {counted(len(batch), 'row')}, {random} of them drawn at random; fill in the "
        "column label (a class, unsure or bad audio) and reviewer, from the top, then: semi review "
        f"{run} --import {path}",
        *notes,
    ]


def round_trip(
    run: str | Path, *, export: Sequence[str] | None = None, rows: str = "",
    count: int | None = None, again: bool = False, imported: str | None = None,
    reviewer: str = "", precision: bool = False, places: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """Returns what `semi review` says after what was asked for: export, import, precision."""
    lines: list[str] = []
    if export:
        kind, path = export
        lines += export_reviews(run, kind, path, rows=rows, count=count, again=again,
                                reviewer=reviewer, places=places)  # fmt: skip
    if imported:
        lines.append(str(import_reviews(run, imported, reviewer=reviewer)))
    if imported or precision:
        result_of(Run.open(run))  # refuses a run that is not finished
        lines += filter(None, [precision_sentence(run, asked=precision)])
    return lines
