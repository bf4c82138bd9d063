"""Reads delimited text so that rows in = rows out: a quote that is never closed eats none.

A double quote opens a cell only where it also closes it. In CSV what it closes may span lines, as
spreadsheets write it, unless each of these lines would be a row by itself: then the quote was a
letter of somebody's text, and the row is refused by its number. In TSV it is read as that letter.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from functools import cache

from .wording import counted

DELIMITERS = ",;\t|"
Fault = tuple[int | None, str, str, str, str]  # row, column, value, reason, remedy

LONE_BACKSLASH = re.compile(r'(?<!\\)(?:\\\\)*\\(?!["\\])')
OPEN = "a cell opens with a double quote that is never closed on its row"
CLOSE = "close the quote, or write two double quotes for one that belongs to the text"


@dataclass
class Records:
    """The rows of a delimited text, the header among them."""

    cells: list[tuple[str, ...]]  # as wide as each row is
    rows: list[int]  # (N,) number of each row, as a spreadsheet counts
    faults: list[Fault] = field(default_factory=list)  # of rows that cannot be read with certainty
    refused: int = 0  # rows that are not among `cells`
    short: list[int] = field(default_factory=list)  # rows with fewer cells than the header


def split_lines(text: str) -> list[str]:
    r"""Returns the lines of `text`, whose ends are \n and \r\n, or \r where the first one ends so.

    Other characters that Unicode calls line ends, and a lone \r or \n, belong to somebody's text.
    """
    head = text[: text.find("\n")].rstrip("\r") if "\n" in text else text
    first = head.partition("\r")[0]
    if "\n" not in text or ("\r" in head and not first.count('"') % 2):
        return text.replace("\r\n", "\r").split("\r")
    return text.replace("\r\n", "\n").split("\n")


def delimiter_of(header: str) -> str:
    """Returns the one of DELIMITERS that stands most often in a header, outside quotes."""
    plain = re.sub(r'"[^"]*"', "", header)
    best = max(DELIMITERS, key=plain.count)
    return best if best in plain else ","


def read_records(lines: list[str], delimiter: str, first: int = 1) -> Records:
    """Returns the rows in `lines`, the header first, as wide as they are; see `squared`.

    `first` is the number of the first line: rows are counted as a spreadsheet does.
    """
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    if not any('"' in line for line in lines):
        records = [tuple(line.split(delimiter)) for line in lines]
        return Records(records, list(range(first, first + len(lines))))
    found = _strictly(lines, delimiter)
    if found is None or not _is_certain(found, lines, delimiter):
        return _line_by_line(lines, delimiter, first)
    return Records(found, list(range(first, first + len(found))))


def squared(records: Records, delimiter: str) -> Records:
    """Returns the records all as wide as the header; what is wider is one more fault."""
    width = len(records.cells[0])
    if set(map(len, records.cells)) == {width}:
        return records
    wider = {len(record) for record in records.cells[1:]}
    if wider == {width + 1} and len(records.cells) > 2:  # as R's write.table writes row names
        reason = f"every row has {width + 1} fields where the header has {width}"
        remedy = "write a name before the others, as R leaves out that of its row names, or put "
        remedy += f"double quotes around texts that hold the delimiter '{delimiter}'"
        records.faults.append((records.rows[0], "", "", reason, remedy))
        cells = [record[:width] for record in records.cells]
        return Records(cells, records.rows, records.faults, records.refused)
    faults, short = list(records.faults), []
    for number, record in zip(records.rows, records.cells, strict=True):
        if "".join(record[width:]).strip():
            reason = f"{counted(len(record), 'field')} where the header has {width}"
            remedy = f"put double quotes around texts that hold the delimiter '{delimiter}'"
            faults.append((number, "", "", reason, remedy))
        elif len(record) < width and "".join(record).strip():
            short.append(number)
    cells = [(record + ("",) * width)[:width] for record in records.cells]
    faults.sort(key=lambda fault: fault[0] or 0)
    return Records(cells, records.rows, faults, records.refused, short)


def _strictly(lines: list[str], delimiter: str) -> list[tuple[str, ...]] | None:
    """Returns the rows as the standard says they are written, or None where they are not."""
    dialects: list[dict] = [{}]
    if any('\\"' in line for line in lines) and not any(LONE_BACKSLASH.search(s) for s in lines):
        dialects.append({"escapechar": "\\", "doublequote": False})  # as Spark and MySQL write
    for dialect in dialects:
        given = io.StringIO("\n".join(lines), newline="")
        try:
            reader = csv.reader(given, delimiter=delimiter, strict=True, **dialect)
            found = [tuple(record) or ("",) for record in reader]
        except csv.Error:
            continue
        if not dialect or {len(record) for record in found} == {len(found[0])}:
            return found
    return None


def _is_certain(records: list[tuple[str, ...]], lines: list[str], delimiter: str) -> bool:
    """Says whether no quoted cell can have eaten the rows that follow, or cells beside it."""
    width = len(records[0])
    if any("\n" in cell and delimiter in cell for cell in records[0]):
        return False
    if delimiter == "\t" and any("\t" in "".join(record) for record in records):
        return False
    for record in records[1:]:
        if len(record) > width or (len(record) < width <= _letters(record, delimiter)):
            return False
    if len(records) == len(lines):
        return True
    spaced = _is_spaced(lines[0], delimiter)
    return not any(
        any("\n" in cell for cell in record) and _is_rows(record, delimiter, width, spaced)
        for record in records[1:]
    )


def _letters(record: tuple[str, ...], delimiter: str) -> int:
    """Returns how many cells a record would have if its quotes were letters."""
    return len(record) + sum(cell.count(delimiter) for cell in record)


def _is_rows(record: tuple[str, ...], delimiter: str, width: int, spaced: bool) -> bool:
    """Says whether the lines of a record that spans several would each be a row by itself.

    In talk a comma is followed by a blank, between cells only where the header writes it so
    (`spaced`): elsewhere such a comma counts as talk.
    """
    between = re.compile(re.escape(delimiter) + ("" if spaced else r"(?![ \u3000])"))
    for at, cell in enumerate(record):
        if "\n" not in cell or width < 2:
            continue
        start, *middle, end = cell.split("\n")
        parts = [start, *(part for part in middle if part.strip()), end]
        counts = [1 + len(between.findall(part)) for part in parts]
        counts[0] += at
        counts[-1] += len(record) - at - 1
        full = [count >= width for count in counts]
        if full[0] and 2 * sum(full[1:]) >= len(full) - 1:
            return True
    return False


def _is_spaced(header: str, delimiter: str) -> bool:
    """Says whether blanks follow the delimiters of a header."""
    return delimiter in "\t|" or f"{delimiter} " in header


@cache
def _cell(delimiter: str) -> re.Pattern[str]:
    """Returns the pattern of a cell: quoted and closed before the delimiter or the end, or not."""
    mark = re.escape(delimiter)
    return re.compile(rf' *"((?:[^"]|"")*)" *(?={mark}|\Z)|([^{mark}]*)')


def _cells(text: str, delimiter: str) -> tuple[list[str], bool]:
    """Returns the cells of one row, and whether one opens with a quote that is not closed."""
    pattern, cells, at, unclosed = _cell(delimiter), [], 0, False
    while True:
        match = pattern.match(text, at)
        assert match is not None  # an empty cell matches anywhere
        if match[1] is not None:
            cells.append(match[1].replace('""', '"'))
        else:
            cells.append(match[2])
            unclosed |= match[2].startswith('"') and match[2].count('"') % 2 == 1
        at = match.end() + 1
        if at > len(text):
            return cells, unclosed


def _line_by_line(lines: list[str], delimiter: str, first: int) -> Records:
    """Reads row after row; those that cannot be told from their neighbours are faults."""
    records: list[tuple[str, ...]] = []
    rows: list[int] = []
    faults: list[Fault] = []
    i, number, width, refused = 0, first, 0, 0
    while i < len(lines):
        cells, used = _row_at(lines, i, delimiter, width)
        if cells is None:
            faults.append((number, "", lines[i], OPEN, CLOSE))
            cells = None if width else lines[i].replace('"', "").split(delimiter)
        if cells is not None:
            records.append(tuple(cells))
            rows.append(number)
            width = width or len(cells)
        refused += cells is None
        i, number = i + used, number + 1
    return Records(records, rows, faults, refused)


def _row_at(lines: list[str], i: int, delimiter: str, width: int) -> tuple[list[str] | None, int]:
    """Returns the cells of the row that begins in line i and its number of lines; None: unsure."""
    cells, unclosed = _cells(lines[i], delimiter)
    letters = lines[i].split(delimiter)
    if delimiter == "\t" and len(letters) == width:
        # a quote is a letter here, unless it opens a cell and closes it
        return [_cells(c, delimiter)[0][0] for c in letters], 1
    if not unclosed:
        eaten = len(cells) < width and len(letters) >= width
        return (None if eaten else cells), 1
    joined, used = lines[i], 1
    for line in lines[i + 1 :]:
        joined, used = f"{joined}\n{line}", used + 1
        lone = re.search(r'(?<!")(?:"")*"(?!")', line)
        if lone is None:
            continue
        cells, unclosed = _cells(joined, delimiter)
        if not unclosed:
            spaced = _is_spaced(lines[0], delimiter)
            whole = len(cells) == width and not _is_rows(tuple(cells), delimiter, width, spaced)
            if not width:  # the header
                whole = not any("\n" in cell and delimiter in cell for cell in cells)
            return (cells, used) if whole else (None, 1)
        if line[lone.end() :][:1] not in ("", delimiter):
            break  # nobody who closes quotes writes a single one within them
    return None, 1
