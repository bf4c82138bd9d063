"""What a file is whose name says it is a table and whose first bytes say it is not."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..errors import ManifestError

PACKED = {  # how packed files begin -> what they are, the command that unpacks one
    b"\x1f\x8b": ("gzip", "gunzip -k"),
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7z", "7z x"),
}
PACKED_SUFFIXES = {".gz": "gunzip -k", ".bz2": "bunzip2 -k", ".xz": "unxz -k", ".zst": "unzstd",
                   ".zip": "unzip", ".7z": "7z x", ".tar": "tar xf", ".tgz": "tar xf"}  # fmt: skip
SAVE_AS = "save it as CSV (UTF-8) or Parquet with the program that reads it"
OTHERS = {  # how other files begin -> what they are and the remedy
    b"version https://git-lfs": ("a Git LFS pointer, not the table itself", "run: git lfs pull"),
    b"PAR1": ("a Parquet file", "name it .parquet"),
    b"ARROW1": ("an Arrow or Feather file", "save it as Parquet: pandas.read_feather(...)"
                ".to_parquet(...)"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook (.xls)", "save it as CSV (UTF-8) or .xlsx"),
    b"%PDF": ("a PDF", "export the table as CSV (UTF-8)"),
    b"{\\rtf": ("a text document (RTF)", "save it as plain text, UTF-8"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV (UTF-8)"),
    b"\x93NUMPY": ("a NumPy array", SAVE_AS),
    b"\x80\x04": ("a pickle, which is never opened", SAVE_AS),
    b"\x80\x05": ("a pickle, which is never opened", SAVE_AS),
    b"RIFF": ("a sound", "name the sound in a table, or give it to semi predict"),
}  # fmt: skip


def refuse_packed(path: Path) -> None:
    """Raises ManifestError for a file whose name says that a table is packed in it."""
    command = PACKED_SUFFIXES.get(path.suffix.lower())
    if command:
        raise ManifestError(
            f"{path.name}: tables are not read from packed files; unpack it with "
            f"{command} {shlex.quote(str(path))}, and give what comes out"
        )


def refuse_other_kinds(path: Path, data: bytes) -> None:
    """Raises ManifestError where the bytes of `path` are of another kind than a text."""
    for start, (kind, command) in PACKED.items():
        if data.startswith(start) and b"xl/" in data:
            kind, remedy = "an Excel workbook", "name it .xlsx, or save the sheet as CSV (UTF-8)"
        elif data.startswith(start):
            kind, remedy = f"packed ({kind})", f"unpack it: {command} {shlex.quote(str(path))}"
        else:
            continue
        raise ManifestError(f"{path.name} is {kind}; {remedy}")
    for start, (kind, remedy) in OTHERS.items():
        if data.startswith(start):
            raise ManifestError(f"{path.name} is {kind}; {remedy}")
    head = data[:200].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")):
        raise ManifestError(
            f"{path.name} is a web page or XML, as a server sends in place of a file that it does "
            "not hand out; download the table once more, signed in if need be"
        )
