"""How tables spell "nothing": cells that are missing, and labels that only say there is none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from .wording import setting, shown

# What pandas, R, spreadsheets and databases write where there is no value.
MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "None", "NaT"})
MISSING |= {"NaN", "nan", "NAN", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
MISSING |= {"NULL", "Null", "null"}
# Somebody may have said 'None', 'Null' or 'NA': as a text these are words.
MISSING_TEXT = MISSING - {"NA", "N/A", "n/a", "NULL", "Null", "null", "None", "NAN"}
EDGES = "\u200b\u200c\u200d\u2060\ufeff"  # invisible, and no blanks to str.strip

# Labels that say there is none. The certain ones are refused until somebody says what they are, the
# others may be a class.
CERTAIN = {"unlabeled", "unlabelled", "unannotated", "notlabeled", "notlabelled", "notannotated"}
CERTAIN |= {"nolabel", "nolabels", "tolabel", "tobelabeled", "tbd", "todo", "?", "??", "???"}
CERTAIN |= {"-", "--", "---"}
POSSIBLE = {"unknown", "unk", "xxx", "none", "na", "n.a.", "nil", "undefined", "undetermined"}
POSSIBLE |= {"missing", "empty", "blank", "notavailable", "unspecified", "noagreement"}
CODES = {"-1", "-9", "-99", "-999", "99", "999", "9999"}  # of surveys, beside labels in words


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
    return unicodedata.normalize("NFC", text.strip(EDGES).strip())


def looks(text: str) -> str:
    """Returns what two spellings have in common that a reader may take for one word."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(dict.fromkeys(map(ord, EDGES)))
    return re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", plain).strip()


def twins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Returns the pairs of names that differ only in case, width or blanks."""
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        other = seen.setdefault(looks(name), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def unlabelled_markers(labels: Collection[str]) -> tuple[list[str], list[str]]:
    """Returns the labels that certainly say "no label", and those that may.

    -1 is scikit-learn's word for it, and a class of its own beside 0 and 1 (a sentiment).
    """
    certain, possible = [], []
    words = [label for label in labels if not _is_number(label)]
    for label in sorted(labels):
        word = re.sub(r"[\s_-]+", "", label.casefold()) or label
        if word in CERTAIN or label in CERTAIN:
            certain.append(label)
        elif word in POSSIBLE:
            possible.append(label)
        elif label.removesuffix(".0") in CODES:
            others = [w for w in words if w.casefold() not in POSSIBLE | CERTAIN]
            if others:
                certain.append(label)
            elif label.removesuffix(".0") == "-1" and len(labels) > 3 and _is_only(label, labels):
                possible.append(label)
    return certain, possible


def drop_markers(markers: Iterable[str], label_map: dict[str, str]) -> str:
    """Returns the setting that makes rows with these labels unlabelled, for a shell."""
    drop = {shown(marker, 100): "" for marker in markers}
    return setting("data.label_map", {**label_map, **drop})


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _is_only(label: str, labels: Collection[str]) -> bool:
    """Says whether a label is the only one of these numbers that is below 0."""
    return not any(other.startswith("-") for other in labels if other != label)
