"""How tables spell "nothing", and names without what cannot be seen of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

# What pandas, R, spreadsheets and databases write where there is no value.
MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "None", "NaT"})
MISSING |= {"NaN", "nan", "NAN", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
MISSING |= {"NULL", "Null", "null", "(null)", "(NULL)", "<null>", "<NULL>", "\\N"}
# Somebody may have said 'None', 'Null' or 'NA': as a text these are words.
MISSING_TEXT = MISSING - {"NA", "N/A", "n/a", "NULL", "Null", "null", "None", "NAN"}
BLANKS = " \t\r\n\f\v\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
# Marks that show nothing and are no blanks: joiners, directions, soft hyphens, variants.
INVISIBLE = "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
INVISIBLE += "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff"


def clean(cells: Iterable[object], missing: Collection[str]) -> list[str | None]:
    """Returns each cell as text without blanks at its ends and composed (NFC); None where missing.

    Letters such as é or Hangul syllables may be stored whole or in parts that look the same: only
    composed are two of them equal.
    """
    texts = ["" if cell is None else str(cell).strip() for cell in cells]
    if not "".join(texts).isascii():
        texts = [composed(text) for text in texts]
    return [None if text in missing else text for text in texts]


def composed(text: str) -> str:
    """Returns the text without blanks or invisible marks at its ends, its letters composed."""
    text = text.strip()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text.strip(INVISIBLE + BLANKS))
