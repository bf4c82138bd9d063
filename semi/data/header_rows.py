"""Lines that are no rows: titles above the header, the header once more; other delimiters."""

from __future__ import annotations

from ..errors import ManifestError
from .delimited import DELIMITERS, Fault, Records
from .headers import known_columns, listed, may_be_column

LINES_ABOVE = 30  # lines among which a header is looked for
BETWEEN_COLUMNS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def refuse_rows_above(records: Records, file: str) -> None:
    """Raises ManifestError where a title or comment stands above the line that names columns."""
    if known_columns(records.cells[0]):
        return
    for number, cells in list(zip(records.rows, records.cells, strict=True))[1:LINES_ABOVE]:
        names = [cell.strip() for cell in cells if cell.strip()]
        if len(known_columns(names)) > 1 and 2 * len(known_columns(names)) >= len(names):
            raise ManifestError(
                f"{file}: row {number} looks like its header ({listed(names)}), and other lines "
                "stand above it; delete them"
            )


def refuse_other_delimiter(records: Records, delimiter: str, file: str) -> None:
    """Raises ManifestError where the header is delimited otherwise than all rows are."""
    header, *rows = [record for record in records.cells if "".join(record).strip()]
    if len(header) == 1 or not rows or any("".join(record[1:]).strip() for record in rows):
        return
    for other in DELIMITERS.replace(delimiter, ""):
        if all(record[0].count(other) >= len(header) - 1 for record in rows):
            raise ManifestError(
                f"{file}: {BETWEEN_COLUMNS[delimiter]} stand between the columns of the header, "
                f"{BETWEEN_COLUMNS[other]} between those of the rows; write one of the two "
                "throughout"
            )


def repeated(records: Records) -> list[Fault]:
    """Returns a fault for each row that names columns, as where tables were joined end to end."""
    header = [cell.strip() for cell in records.cells[0]]
    named = known_columns(header)
    faults: list[Fault] = []
    names = set(header)
    for number, record in zip(records.rows[1:], records.cells[1:], strict=True):
        first = record[0].strip()
        if first not in names and not may_be_column(first):
            continue
        cells = [cell.strip() for cell in record]
        filled = [cell for cell in cells if cell]
        if cells == header:
            reason, remedy = "the names of the columns once more", "delete the row"
        elif len(named) > 1 and len(set(cells) - {""}) > 1 and set(cells) - {""} <= names:
            reason = "the names of the columns in another order"
            remedy = "the rows beneath it belong to another table; give them a file of their own"
        elif len(filled) > 2 and len(known_columns(filled)) == len(filled):
            reason, remedy = "names of columns and no row", "keep one line of names, at the top"
        else:
            continue
        faults.append((number, "", ", ".join(cells), reason, remedy))
    return faults
