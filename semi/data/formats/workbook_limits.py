"""What a workbook would unpack to, asked of its parts before a library opens it.

An .xlsx is a zip archive of XML: a few kilobytes of it can ask for gigabytes of memory, by packing,
by one cell at the far corner of a sheet, or by a merged area of a whole sheet, each cell of which a
library makes an object of.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from ...errors import ManifestError

SMALL = 64 * 2**20  # bytes; a part of this size is read however well it was packed
PACKED = 100  # no sheet that people fill becomes this many times smaller
CELLS = 50_000_000  # of the rectangle from A1 to a sheet's last cell, empty ones counted
MERGED = 5_000_000  # cells of merged areas
PLACE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


def refuse_bombs(path: Path) -> None:
    """Raises ManifestError where a workbook would take far more memory than what it holds.

    A file that is no zip archive, or breaks off, is left to the library that reads it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                if part.file_size > max(SMALL, PACKED * part.compress_size):
                    raise ManifestError(
                        f"{path.name}: its part {part.filename:.60} unpacks from "
                        f"{part.compress_size / 1e6:.1f} to {part.file_size / 1e6:,.0f} MB, which "
                        "no table does; nothing of it was read. Save the sheet as CSV (UTF-8)"
                    )
                with archive.open(part) as file:
                    _refuse_far_cells(path, part.filename, file)
    except ManifestError:
        raise
    except Exception:  # damaged in any way: said where it is read
        return


def _refuse_far_cells(path: Path, part: str, file: IO[bytes]) -> None:
    """Refuses a sheet of too many cells, empty and merged ones counted."""
    last_row = last_column = merged = 0
    try:
        for _, element in ElementTree.iterparse(file):
            tag = element.tag.rpartition("}")[2]
            if tag == "c":
                column, row = _place(element.get("r", ""))
                last_row, last_column = max(last_row, row), max(last_column, column)
            elif tag == "mergeCell":
                merged += _area(element.get("ref", ""))
            elif tag == "row":
                element.clear()
            if last_row * last_column > CELLS or merged > MERGED:
                break
    except ElementTree.ParseError:  # a picture, or damaged
        return
    if last_row * last_column > CELLS:
        raise ManifestError(
            f"{path.name}: the last cells of {part:.60} are in row {last_row:,} and column "
            f"{last_column:,}, so it has {last_row * last_column:,} cells; delete the empty rows "
            "and columns, or save the sheet as CSV (UTF-8)"
        )
    if merged > MERGED:
        raise ManifestError(
            f"{path.name}: {merged:,} cells of {part:.60} are merged, more than any table needs; "
            "take the merging away, or save the sheet as CSV (UTF-8)"
        )


def _place(name: str) -> tuple[int, int]:
    """Returns column and row of a cell such as B7, both from 1; 0, 0 where it is none."""
    match = PLACE.fullmatch(name.replace("$", ""))
    if match is None:
        return 0, 0
    column = 0
    for letter in match[1]:
        column = 26 * column + ord(letter) - 64
    return column, int(match[2])


def _area(name: str) -> int:
    """Returns how many cells an area such as A2:C9 has."""
    first, _, last = name.partition(":")
    (left, top), (right, bottom) = _place(first), _place(last or first)
    return max(0, right - left + 1) * max(0, bottom - top + 1)
