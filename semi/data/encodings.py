"""The text in the bytes of a table: UTF-8, UTF-16, UTF-32, or what can be nothing else.

Nearly every old code page decodes nearly every file, into other letters. Two are taken where
all letters are those of their languages, written as people do, and that is told; what is in any
other is refused, with a word of it as it would read in those that are likely.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from pathlib import Path

from ..errors import ManifestError
from .delimited import split_lines
from .wording import shown

GUESSED = {"cp1252": "Windows-1252 (western European)", "cp949": "CP949 (Korean)"}
MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    *((mark, "utf-32") for mark in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")),
    *((mark, "utf-16") for mark in (b"\xff\xfe", b"\xfe\xff")),
)
SWAPPED_END = re.compile("[\u0a00\u0d00]")  # line ends whose bytes are swapped
LOOKED_AT = 1 << 16  # bytes that are looked at

STRAY = 0.03  # share of letters that may be foreign, as in a name
# German, French, Dutch; the Romance south; the North: a table is in one of them
ALPHABETS = ("äöüßéèêëàâçîïôûùœÿñ", "áéíóúüñçãõâêôàèìòùï", "äöåæøéüáíóúýþð")
QUOTES = "’‘“”„‚–—…«»‹›¡¿·´\xa0"
LOOSE = "°€£§©®™•ºª¨×÷½¼¾¹²³"  # signs that touch no word
MISPLACED = re.compile(
    rf"[{LOOSE}][^\W\d_]|[^\W\d_]{{2}}[{LOOSE}]|(?<=[^\W\d_])[‘“„‚«¡¿–—…](?=[^\W\d_])"
    "|[a-zß-öø-ÿœšž][À-ÖØ-ÞŠŽŸŒ]|(?<![^\\W\\d_])[^\x00-\x7f\\W\\d_]{3,}"
)
LIKELY = {  # Python's name -> iconv's
    **{"cp1251": "CP1251", "koi8-r": "KOI8-R", "cp866": "CP866", "cp1250": "CP1250"},
    **{"iso8859_2": "ISO-8859-2", "cp1254": "CP1254", "cp1253": "CP1253", "cp1256": "CP1256"},
    **{"cp1255": "CP1255", "cp874": "CP874", "gb18030": "GB18030", "big5": "BIG5"},
    **{"cp932": "CP932", "euc_jp": "EUC-JP", "cp949": "CP949", "mac_roman": "MACINTOSH"},
    **{"cp850": "CP850", "cp852": "CP852", "cp1252": "CP1252"},
}


def decode(data: bytes, path: Path) -> tuple[str, str]:
    """Returns the text of `data` and the encoding that decodes it strictly.

    Raises ManifestError where that cannot be told, or where bytes were lost.
    """
    name = path.name
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _strict(data, [encoding], name)
    if b"\x00" in data:
        return _strict(data, _without_mark(data, name), name)
    escaped = re.search(rb"\x1b\$[@AB]", data)
    if escaped:
        row = data.count(b"\n", 0, escaped.start()) + 1
        raise ManifestError(
            f"{name} row {row}: Japanese letters in ISO-2022-JP; {_saved('ISO-2022-JP', path)}"
        )
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        _refuse_damaged_utf8(data, error.start, name)
    for encoding, fits in (("cp949", _is_korean), ("cp1252", _is_western)):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if fits(text):
            return text, encoding
    raise ManifestError(_unknown(data, path))


def _without_mark(data: bytes, name: str) -> list[str]:
    """Returns the encodings of text that holds NUL bytes: the empty halves of Latin letters.

    Raises ManifestError where they are none.
    """
    head = data[: LOOKED_AT - LOOKED_AT % 4]
    for encoding, empty in (("utf-32-le", (2, 3)), ("utf-32-be", (0, 1))):
        if not any(any(head[at::4]) for at in empty):
            return [encoding]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    few, many = sorted((even, odd))
    if many > 0.05 * len(head) and few < 0.02 * many:
        return ["utf-16-be" if even > odd else "utf-16-le"]
    at = data.index(b"\x00")
    row, left = data.count(b"\n", 0, at) + 1, data[at:].strip(b"\x00")
    what = "holds a NUL byte, which no text does" if left else "and all that follows is NUL bytes"
    raise ManifestError(
        f"{name} row {row} {what}: the file is damaged, was not written to its end, or is no "
        "table; bring it back from a copy, or export it once more"
    )


def _strict(data: bytes, encodings: list[str], name: str) -> tuple[str, str]:
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        swapped = SWAPPED_END.search(text) if encoding.startswith("utf-16") else None
        if swapped:
            row = len(split_lines(text[: swapped.start()]))
            raise ManifestError(
                f"{name} row {row}: half of a UTF-16 letter is lacking or too much there, so what "
                "follows cannot be read; bring the file back from a copy, or save it as UTF-8"
            )
        return text, encoding
    raise ManifestError(
        f"{name}: the text begins as {encodings[0].upper()} and cannot be read as that to its end; "
        "bring the file back from a copy, or save it as UTF-8"
    )


def _refuse_damaged_utf8(data: bytes, at: int, name: str) -> None:
    """Refuses what is UTF-8 but for a few bytes: as anything else every letter would be wrong."""
    read = data.decode("utf-8", "replace")
    broken = read.count("\ufffd")
    if sum(c > "\x7f" for c in read) - broken > broken:
        row = len(split_lines(data[:at].decode("utf-8")))
        raise ManifestError(
            f"{name} row {row}: the byte {data[at]:#04x} is no UTF-8, as the rest of the file is; "
            "bring the file back from a copy, or save it as UTF-8"
        )


def _foreign(text: str) -> Counter[str]:
    """Returns how often each letter and sign beyond ASCII stands in a text."""
    return Counter({char: n for char, n in Counter(text).items() if char > "\x7f"})


def _is_korean(text: str) -> bool:
    """Says whether letters are Hangul, and those of all words, not rare ones of CP949 alone."""
    found = _foreign(text)
    letters = {char: n for char, n in found.items() if char.isalpha()}
    glued = len(re.findall("[a-z][\uac00-\ud7a3]", text))  # as few write it
    usual = sum(n for char, n in letters.items() if len(char.encode("euc_kr", "ignore")) == 2
                and "\uac00" <= char <= "\ud7a3")  # fmt: skip
    return usual - 3 * glued >= 0.9 * sum(letters.values()) and 2 * usual > sum(found.values())


def _is_western(text: str) -> bool:
    """Says whether all letters are those of one part of western Europe, written as people do."""
    found = _foreign(text)
    letters = {char: n for char, n in found.items() if char not in QUOTES + LOOSE}
    outside = min(
        sum(n for char, n in letters.items() if char.lower() not in known) for known in ALPHABETS
    )
    return outside + len(MISPLACED.findall(text)) <= STRAY * sum(found.values())


def _unknown(data: bytes, path: Path) -> str:
    """Returns the sentence on a text in an unknown encoding: how its letters may read."""
    row = 1 + data.count(b"\n", 0, next(i for i, byte in enumerate(data) if byte > 127))
    head = data[:LOOKED_AT].rpartition(b"\n")[0] or data
    ranked: list[tuple[float, str, str]] = []
    for codec in LIKELY:
        try:
            text = head.decode(codec)
        except UnicodeDecodeError:
            continue
        words = [w for w in re.findall(r"[^\s,;|\"]+", text) if not w.isascii()]
        if words:
            plain = sum(_is_word(word) for word in words) / len(words)
            kana = any("\u3041" <= char <= "\u30fe" for char in "".join(words))
            likely = plain * (2 if kana == (codec in ("cp932", "euc_jp")) else 1)
            ranked.append((-likely, codec, max(words[:20], key=len)))
    ranked.sort(key=lambda found: found[0])
    reads = ", ".join(f"'{shown(word, 30)}' in {LIKELY[codec]}" for _, codec, word in ranked[:4])
    best = LIKELY[ranked[0][1]] if ranked else "ENCODING"
    return (
        f"{path.name} row {row}: neither UTF-8 nor UTF-16, and its encoding cannot be told for "
        + (f"certain (a word of it would be {reads})" if reads else "certain")
        + f"; {_saved(best, path)}, if it is {best}"
    )


def _saved(encoding: str, path: Path) -> str:
    """Returns the remedy: how to save a file as UTF-8, for a shell."""
    new = path.with_name(f"{path.stem}-utf8{path.suffix}")
    command = f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(str(new))}"
    return f"save the file as UTF-8, as this does: {command}"


def _is_word(word: str) -> bool:
    """Says whether a word is letters of one script, capital at its start or all through."""
    letters = [c for c in word if c not in QUOTES and (c.isalpha() or not c.isascii())]
    scripts = {unicodedata.name(char, "?").split()[0] for char in letters}
    japanese = scripts <= {"HIRAGANA", "KATAKANA", "CJK"} and scripts & {"HIRAGANA", "KATAKANA"}
    marks = all(unicodedata.category(char)[0] in "LM" for char in letters)
    cased = word[1:].islower() or word.isupper() or not any(c.isupper() for c in word)
    return marks and cased and (len(scripts) == 1 or bool(japanese))
