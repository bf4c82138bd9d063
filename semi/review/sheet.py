"""A table that people fill in by hand, in any spreadsheet: written, and read back as reviews."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import formats
from ..data.reviewed import OUT
from ..data.reviews import PICKS, Review, line_of, read_reviews
from ..data.tables import read_table
from ..errors import RunError, reading
from ..files import write_text
from ..formulas import guarded
from .batch import BatchRow

SHEET_COLUMNS = (
    *("id", "audio", "text", "start", "end", "machine_label", "machine_confidence"),
    *("label", "reviewer", "run", "pick"),
)
Refused = list[tuple[str, str]]  # what, why


def write_sheet(path: str | Path, rows: Sequence[BatchRow], run: str) -> None:
    """Writes the rows with empty columns label and reviewer; a mark tells spreadsheets of UTF-8."""
    lines = [line_of(SHEET_COLUMNS)]
    for row in rows:
        cells = {**vars(row), "label": "", "reviewer": "", "run": run}
        texts = ("" if cells[name] is None else str(cells[name]) for name in SHEET_COLUMNS)
        lines.append(line_of(guarded(text) for text in texts))
    write_text(path, "\ufeff" + "".join(lines))


def read_sheet(path: Path, reviewer: str, classes: Sequence[str]) -> tuple[list[Review], Refused]:
    """Returns the reviews in a filled table, or in a reviews.csv, and what is refused.

    In column label, unsure and bad audio are words of their own unless they are classes. Rows whose
    label is empty were not reviewed. Lines without a time have none here.

    Args:
        path: the table.
        reviewer: who it is where a row does not say.
        classes: the run's.
    """
    remedy = "name a table with columns id and label, as --export csv writes it, or a reviews.csv"
    with reading(path, "a table of reviews", remedy):
        table = formats.read(path, path.parent) or read_table(path, path.read_bytes())
    frame = table.frame.rename(columns={name: name.strip().lower() for name in table.frame})
    if "id" in frame and "verdict" in frame:
        return read_reviews(path), []
    lacking = [name for name in ("id", "label") if name not in frame]
    if lacking:
        raise RunError(f"{path} has no column {' and no column '.join(lacking)}; {remedy}")
    refused: Refused = [(f"row {row}", reason) for row, _, _, reason, _ in table.faults]
    found = []
    for number, record in zip(table.rows, frame.to_dict("records"), strict=True):
        cells = {str(k): str(v).strip() for k, v in record.items() if v is not None}
        label = cells.get("label", "")
        if not label:
            continue
        verdict = "_".join(label.lower().split())
        verdict = verdict if verdict in OUT and label not in classes else "label"
        pick = cells.get("pick", "")
        given = {
            "id": cells.get("id", ""), "verdict": verdict,
            "label": label if verdict == "label" else "",
            "reviewer": cells.get("reviewer") or reviewer, "time": cells.get("time", ""),
            "run": cells.get("run", ""), "machine_label": cells.get("machine_label", ""),
            "machine_confidence": cells.get("machine_confidence", "").replace(",", "."),
            "pick": pick if pick in PICKS else "import",
        }  # fmt: skip
        try:
            found.append(Review(**given))
        except ValueError as error:
            refused.append((f"row {number}", str(error)))
    return found, refused
