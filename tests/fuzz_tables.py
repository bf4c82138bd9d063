"""Tables of known rows, written in a random dialect and damaged: every row is there or refused.

What is read must hold each row that the damage did not touch, with its own text, label and speaker,
and a row or a refusal for each that it did. A table that nothing has damaged must be read.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from semi.data.config import DataConfig
from semi.data.manifest import Manifest, load_manifest
from semi.errors import ManifestError

CLASSES = ["anger", "joy", "calm"]
WORDS = {
    "utf-8": ["안녕", "오늘", "정말", "hello", "świat", "你好", "naïve", "ü", "'tis", "ok", "NA"],
    "cp949": ["안녕하세요", "오늘은", "정말", "좋은", "날씨", "그래서", "우리", "행복해요"],
    "cp1252": ["schön", "übel", "größe", "naïve", "façade", "été", "ja", "nein", "gut"],
    "ascii": ["well", "no", "'tis", "ok", "NA", "none", "1.5", "5%", "a/b", "#1", "it's"],
}
NOTHING = ["", "NA", "NaN", "null", "N/A", "  "]  # as labels and speakers are left out
NASTY = [
    '"',
    '""',
    "\n",
    "\t",
    ",",
    ";",
    "|",
    "\\",
    '"\n',
    '\n"',
    ',"',
    '",',
    "\x00",
    "\r",
    "=",
    "'",
]
ENDS = {"utf-8-sig": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8"}


@dataclass
class Dialect:
    """How a table is written."""

    encoding: str
    delimiter: str
    end: str
    quotes: str  # all | needed

    def cell(self, text: str) -> str:
        """Returns a cell as it is written."""
        needed = any(mark in text for mark in (self.delimiter, '"', "\n", "\r"))
        if self.quotes == "all" or needed:
            return '"' + text.replace('"', '""') + '"'
        return text

    def bytes(self, cells: list[str]) -> bytes:
        """Returns one row, its end included."""
        return self.delimiter.join(map(self.cell, cells)).encode(self.codec()) + self.end_bytes()

    def codec(self) -> str:
        """Returns the encoding without its mark."""
        return "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    def end_bytes(self) -> bytes:
        """Returns the end of a row as it is written."""
        return self.end.encode(self.codec())


@dataclass
class Written:
    """A table in pieces: the header, then one piece a row."""

    dialect: Dialect
    pieces: list[bytes]
    rows: list[dict[str, str | None]]  # what each row says
    damaged: set[int] = field(default_factory=set)  # rows that may come out otherwise
    must_read: bool = True

    def whole(self) -> bytes:
        """Returns the file."""
        marks = {"utf-8-sig": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
        return marks.get(self.dialect.encoding, b"") + b"".join(self.pieces)


def write(chance: random.Random) -> Written:
    """Returns a table of 8 to 40 rows in a dialect that spreadsheets and programs write."""
    encoding = chance.choice(["utf-8", "utf-8", *WORDS, *ENDS])
    words = WORDS[ENDS.get(encoding, encoding)]
    if encoding == "utf-8":
        words = WORDS[chance.choice(list(WORDS))]
    ends = ["\n", "\n", "\r\n"] + ["\r"] * (chance.random() < 0.2)
    delimiter = chance.choice(",,;\t|")
    dialect = Dialect(encoding, delimiter, chance.choice(ends), chance.choice(["all", "needed"]))
    rows, pieces = [], [dialect.bytes(["id", "text", "label", "speaker"])]
    talk = chance.random() < 0.5  # texts hold quotes and delimiters, as talk does
    for k in range(chance.randint(8, 40)):
        said = chance.choices(words, k=chance.randint(1, 8))
        if talk and delimiter != "\t" and chance.random() < 0.4:
            said.insert(chance.randrange(len(said) + 1), chance.choice(['"so"', ", and", "; then"]))
        if chance.random() < 0.02:
            said *= 3000
        text, label, speaker = f"t{k} " + " ".join(said), chance.choice(CLASSES), f"s{k % 5}"
        gone = chance.choice(NOTHING) if chance.random() < 0.1 else None
        cells = [f"u{k}", text, label if gone is None else gone, speaker]
        pieces.append(dialect.bytes(cells))
        rows.append({"id": f"u{k}", "text": text, "label": label if gone is None else None,
                     "speaker": speaker})  # fmt: skip
        if chance.random() < 0.03:
            pieces[-1] += dialect.bytes([""])  # a blank line
    return Written(dialect, pieces, rows)


def ragged(table: Written, chance: random.Random) -> None:
    """Makes rows shorter or longer, or the header odd."""
    at, cells = chance.randrange(len(table.rows)), [b""]
    how = chance.choice(["short", "long", "header", "twice"])
    row = table.rows[at]
    known = [str(row["id"]), str(row["text"]), str(row["label"] or ""), str(row["speaker"])]
    if how == "short":
        cells = known[: chance.randint(1, 3)]
    elif how == "long":
        cells = [*known, *["more"] * chance.randint(1, 3)]
    if how in ("short", "long"):
        table.pieces[at + 1] = table.dialect.bytes(cells)  # pyright: ignore[reportArgumentType]
        table.damaged.add(at)
    else:
        names = ["id", "text", "label", "label" if how == "header" else "speaker", "speaker"]
        table.pieces[0] = table.dialect.bytes(names)
    table.must_read = False


def doubled(table: Written, chance: random.Random) -> None:
    """Gives a row twice: the ids are no longer each their own."""
    at = chance.randrange(len(table.rows))
    table.pieces[at + 1] *= 2
    table.damaged.add(at)
    table.must_read = False


def bytes_changed(table: Written, chance: random.Random) -> None:
    """Changes some bytes of one piece: flips, cuts, junk, quotes and ends put in."""
    at = chance.randrange(len(table.pieces)) if chance.random() < 0.2 else 0
    at = at or chance.randrange(1, len(table.pieces))
    piece = bytearray(table.pieces[at])
    start = chance.randrange(len(piece))
    stop = min(len(piece), start + chance.choice([1, 1, 2, 8, 40]))
    if chance.random() < 0.3:
        piece[start] ^= 1 << chance.randrange(8)
    elif chance.random() < 0.5:
        piece[start:start] = chance.choice(NASTY).encode(table.dialect.codec())
    else:
        piece[start:stop] = chance.choice([b"", bytes(chance.randrange(256) for _ in range(3))])
    table.pieces[at] = bytes(piece)
    table.damaged.add(at - 1)
    if not table.pieces[at].endswith(table.dialect.end_bytes()):
        table.damaged.add(at)  # it runs into the next
    table.must_read = False


def cut(table: Written, chance: random.Random) -> None:
    """Ends the file somewhere."""
    size = chance.randrange(len(table.pieces[0]), len(b"".join(table.pieces)))
    kept = 0
    for k, piece in enumerate(table.pieces):
        if kept + len(piece) > size:
            table.pieces = [*table.pieces[:k], piece[: size - kept]]
            table.damaged |= {k - 1}
            table.rows = table.rows[: k if size > kept else k - 1]
            break
        kept += len(piece)
    table.must_read = False


def wrong(table: Written, read: Manifest) -> str:
    """Returns what is wrong with what was read of a table, "" if nothing is."""
    frame = read.table
    whole = [row for k, row in enumerate(table.rows) if k not in table.damaged]
    odd_header = -1 in table.damaged
    held = {row["id"]: row for row in frame.to_dict("records")}
    if not odd_header:
        for row in whole:
            found = held.get(str(row["id"]))
            if found is None:
                return f"{row['id']} is lost without a word ({read.reading.kind})"
            for name, said in row.items():
                same = (
                    str(found[name]).strip() == str(said).strip() if said else found[name] is None
                )
                if not same:
                    return f"{row['id']}: {name} is {found[name]!r:.60}, not {said!r:.60}"
    touched = sum(0 <= k < len(table.rows) for k in table.damaged)
    least = len(whole) + (touched if not odd_header and len(table.damaged) == 1 else 0)
    if len(frame) < least - any(not p.strip(b"\x00\r\n ,;|\t") for p in table.pieces[1:]):
        return f"{len(frame)} rows of {len(table.rows)}"
    return ""


def table_case(path: Path, chance: random.Random) -> str:
    """Writes one case at `path`, reads it, and returns what is wrong with what was read."""
    table = write(chance)
    for _ in range(chance.choice([0, 1, 1, 1, 2])):
        chance.choice([ragged, doubled, bytes_changed, bytes_changed, bytes_changed, cut])(
            table, chance
        )
        if -1 in table.damaged or len(table.pieces) != len(table.rows) + 1:
            break
    if chance.random() < 0.1 and table.must_read:  # no end of the last line
        table.pieces[-1] = table.pieces[-1].removesuffix(table.dialect.end_bytes())
    path.write_bytes(table.whole())
    try:
        read = load_manifest(path, DataConfig(manifest=str(path)))
    except ManifestError as error:
        if table.must_read:
            return f"refused though nothing is wrong with it: {error}"
        seen = error.reading
        if seen is not None and seen.total < len(table.rows) - len(table.damaged):
            return f"refused, but only {seen.total} of {len(table.rows)} rows were seen"
        return ""
    return wrong(table, read)
