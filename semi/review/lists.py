"""Lists of rows that people are asked about: who was asked already, and what a line shows.

`RUN/next.csv` and `RUN/suspects.csv` are read by the page of `semi review`; they are for people,
who may open and change them, so they have no checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.reviews import REVIEWS, read_reviews, standing
from ..data.wording import counted
from ..errors import RunError
from ..files import check_table, write_table
from ..runs.reopen import Finished, reopen, result_of
from ..self_training.integrity import check_run
from ..self_training.run_dir import Run

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 10  # on the screen
NEXT = "next.csv"


def opened(run: str | Path, places: Sequence[str]) -> Finished:
    """Returns a finished run; RunError where it is at work, damaged or none."""
    result_of(Run.open(run, places))
    check_run(Path(run))
    return reopen(run, places)


def check_count(count: float, unit: str = "rows") -> None:
    """Raises RunError where nothing is asked for."""
    if not count > 0 or not np.isfinite(count) or (unit == "rows" and count != int(count)):
        kind = "whole number" if unit == "rows" else "number"
        raise RunError(f"-n must be a {kind} of {unit} above 0, got {count:g}")


def check_list(run: Path, name: str, output: str | Path | None) -> None:
    """Raises RunError where the lists cannot be written, before the work that would fill them."""
    if output is not None:
        check_table(output)
    if not run.is_dir():
        return  # opening it will say so
    try:
        check_table(run / name)
    except RunError:
        if output is None:
            raise


def write_list(run: Path, name: str, table: pd.DataFrame, output: str | Path | None) -> list[str]:
    """Writes a list into the run for the page, and to `output` if one is named; returns sentences.

    A run where nothing can be written is no error where an output is named.
    """
    notes = []
    if output is not None:
        write_table(output, table)
        notes.append(f"{output}: {counted(len(table), 'row')}")
    try:
        write_table(run / name, table)
    except RunError as error:
        if output is None:
            raise
        notes.append(f"the page of semi review will not show them: {error}")
    else:
        notes.append(f"hear and label them with: semi review {run}")
    return notes


def reviewed_ids(run: Run) -> set[str]:
    """Returns the ids of the rows on which somebody's word stands, whatever it is.

    Those of the run's own reviews.csv, and of the reviews that it was trained with.
    """
    found: set[str] = set()
    for path in (run.path / REVIEWS, *run.config.data.reviews):
        found |= standing(read_reviews(path)).keys()
    return found


def measured_ids(run: Run) -> set[str]:
    """Returns the ids of the rows that somebody judged as a random pick of this run."""
    words = standing(read_reviews(run.path / REVIEWS))
    return {i for i, by in words.items() if any(word.pick == "random" for word in by.values())}


def shown_columns(table: pd.DataFrame, seconds: np.ndarray) -> dict[str, Any]:
    """Returns the columns by which people know a row: speaker, seconds, audio, text.

    Of parts of a longer file also start and end, so that the list can be read as a table.
    """
    columns: dict[str, Any] = {
        "speaker": table["speaker"].to_numpy(),
        "seconds": seconds.round(3),
        "audio": table["audio"].to_numpy(),
    }
    times = {name: table[name].to_numpy(dtype=np.float64) for name in ("start", "end")}
    if any(np.isfinite(time).any() for time in times.values()):
        columns |= times
    return columns | {"text": table["text"].to_numpy()}
