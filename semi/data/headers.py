"""Which column of a table is what: its own name, another name for it, or `data.columns`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache

from ..errors import ManifestError
from .wording import counted, nearest, setting, shown

TEXT_COLUMNS = ("id", "audio", "text", "label", "speaker", "session", "dialogue", "split")
TEXT_COLUMNS += ("language",)
NUMBER_COLUMNS = ("valence", "arousal", "seconds", "start", "end")
COLUMNS = (*TEXT_COLUMNS, "valence", "arousal", "votes", "seconds", "start", "end")
ALIASES = {  # canonical name -> other headers, the first one there wins; see `_plain`
    "id": ("utterance_id", "utt_id", "utt", "segment_id", "sample_id", "name"),
    "audio": (
        *("path", "wav", "file", "filename", "audio_path", "wav_path", "audio_file", "filepath"),
        *("audio_filepath", "sound"),
    ),
    "text": (
        *("transcript", "transcription", "sentence", "utterance", "txt", "utterance_text"),
        *("발화", "발화문", "문장", "텍스트", "文本", "句子", "テキスト", "発話", "текст"),
        *("texto", "texte", "testo", "metin", "متن", "نص", "النص"),
    ),
    "label": (
        *("emotion", "emotion_label", "emo", "emotions", "labels", "gefühl", "emotionen", "감정"),
        *("감정 라벨", "情感", "情绪", "情緒", "感情", "эмоция", "émotion", "emoción", "emoção"),
        *("emozione", "duygu", "جذبات", "جذبہ", "عاطفة", "المشاعر"),
        *("category", "class", "sentiment", "mood"),
    ),
    "speaker": (
        *("speaker_id", "spk", "spk_id", "actor", "speaker_name", "spkr", "client_id", "sprecher"),
        *("sprecherin", "화자", "说话人", "說話人", "話者", "диктор", "hablante", "locuteur"),
    ),
    "session": ("session_id",),
    "dialogue": ("dialogue_id", "dialog", "dialog_id", "conversation", "conversation_id"),
    "split": ("subset", "partition"),
    "language": ("lang",),
    "valence": (),
    "arousal": ("activation",),
    "votes": ("ratings",),
    "seconds": ("duration", "duration_seconds", "length_seconds"),
    "start": (
        *(
            "start_seconds",
            "start_time",
            "begin",
            "start_sec",
            "start_s",
            "begin_time",
            "begin_sec",
        ),
        *("onset", "time_start", "t_start", "segment_start", "tmin", "xmin"),
    ),
    "end": (
        *("end_seconds", "end_time", "end_sec", "end_s", "finish_time", "stop_time", "stop"),
        *("time_end", "t_end", "segment_end", "tmax", "xmax"),
    ),
}
# Names of the label that say the same: none of them goes before another.
EQUALS = ("category", "class", "sentiment", "mood")
MILLISECONDS = {"start_ms": "start", "end_ms": "end", "duration_ms": "seconds"}
MILLISECONDS |= {"start_msec": "start", "end_msec": "end", "begin_ms": "start", "stop_ms": "end"}
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", ".xlsx")
SOUND_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".aiff", ".au", ".wma"),
    *(".oga", ".aif", ".webm", ".weba", ".mka", ".mkv", ".mov", ".avi", ".3gp", ".amr", ".m4b"),
    *(".sph", ".nist", ".w64", ".rf64", ".caf", ".snd", ".voc", ".ac3", ".mp2", ".wv", ".tta"),
)
LISTED = 30  # columns named in a message
BETWEEN = "~^:/ \x01\x1f\x1e"  # what may stand between columns and is read by nobody


@dataclass
class Header:
    """What the columns of a table are."""

    canonical: dict[str, str]  # header -> name in COLUMNS
    rivals: dict[str, list[str]] = field(default_factory=dict)  # canonical -> others it could be
    milliseconds: list[str] = field(default_factory=list)  # canonical names of times in ms


def recognise(names: list[str], chosen: Mapping[str, str], file: str, *, gold: bool) -> Header:
    """Returns what each column is; `chosen` (data.columns) wins over all other names.

    Args:
        names: headers of the table.
        chosen: canonical name -> header; an empty header says that no column is it.
        file: name of the table, for messages.
        gold: whether labels are read; without, a chosen header may be absent.

    Raises:
        ManifestError: a chosen header is not there, or two columns are the label with equal right.
    """
    header = Header({})
    for name, wanted in chosen.items():
        if not wanted:
            continue
        match = next((n for n in names if n == wanted), None)
        match = match or next((n for n in names if _plain(n) == _plain(wanted)), None)
        if match is None and gold:
            raise ManifestError(
                f"{file}: no column '{shown(wanted)}', which data.columns names as {name}"
                f"{nearest(wanted, names)}; its columns are {listed(names)}"
            )
        if match is not None:
            header.canonical[match] = MILLISECONDS.get(name, name)
            if name in MILLISECONDS:
                header.milliseconds.append(MILLISECONDS[name])
    taken = {*header.canonical.values(), *(MILLISECONDS.get(n, n) for n in chosen)}
    plain = {name: _plain(name) for name in names if name not in header.canonical}
    for canonical, aliases in ALIASES.items():
        if canonical in taken:
            continue
        found = [n for wanted in (canonical, *aliases) for n in _same(plain, wanted, header)]
        if found:
            header.canonical[found[0]] = canonical
            if plain[found[0]] != _plain(canonical):
                header.rivals[canonical] = found[1:]
    for alias, canonical in MILLISECONDS.items():
        found = _same(plain, alias, header)
        if found and canonical not in {*taken, *header.canonical.values()}:
            header.canonical[found[0]] = canonical
            header.milliseconds.append(canonical)
    _take_offset(plain, header)
    return header


def _take_offset(plain: Mapping[str, str], header: Header) -> None:
    """Takes a column `offset` as the end beside an onset, as the start beside a duration."""
    there = {name: h for h, name in header.canonical.items()}
    found = _same(plain, "offset", header)
    if not found:
        return
    if "end" not in there and plain.get(there.get("start", "")) == "onset":
        header.canonical[found[0]] = "end"
    elif not {"start", "end"} & there.keys() and "seconds" in there:
        header.canonical[found[0]] = "start"


def equal_rivals(header: Header) -> list[str]:
    """Returns the columns that are the label with equal right, if there are several."""
    label = next((h for h, name in header.canonical.items() if name == "label"), "")
    rivals = [n for n in header.rivals.get("label", []) if _plain(n) in EQUALS]
    return [label, *rivals] if rivals and _plain(label) in EQUALS else []


def refuse_unknown(
    names: list[str], first: dict[str, str], header: Header, file: str, unread: Collection[str] = ()
) -> None:
    """Raises ManifestError where no column is known, with what was found and how to name it.

    `first` holds each column's first cell; columns in `unread` are known and not read.
    """
    if header.canonical.keys() - set(unread) or not names:
        return  # without any column there is no row either, and each line is a problem of its own
    found = f"it has {counted(len(names), 'column')}: {listed(names)}"
    if any(n.lower().endswith(SOUND_SUFFIXES) or _is_number(n) for n in names):
        raise ManifestError(
            f"{file}: the first line looks like a row, not like names of columns ({found}); write "
            f"a first line above it, such as {','.join(_guesses(names))}"
        )
    for mark in BETWEEN if len(names) == 1 else "":
        words = names[0].split(mark if mark != " " else None)
        if len(words) > 1 and known_columns(words):
            what = "blanks seem" if mark == " " else f"'{shown(mark)}' seems"
            raise ManifestError(
                f"{file}: {what} to stand between its columns ({', '.join(words)}); save it as "
                "CSV, with commas or tabs between them"
            )
    sounds = [n for n in names if first.get(n, "").lower().endswith(SOUND_SUFFIXES)]
    guess = {"audio": sounds[0]} if sounds else {"text": names[-1]}
    raise ManifestError(
        f"{file}: none of its columns is known; {found}. Say what they are, as in "
        f"{setting('data.columns', guess)}; known are {', '.join(COLUMNS)}"
    )


def known_columns(names: Collection[str], what: str = "") -> list[str]:
    """Returns those of some names that are columns of a manifest (the column `what` if given)."""
    names = [name for name in dict.fromkeys(names) if _plain(name) in _spellings()]
    if not names:  # as nearly all rows of a table, which are looked at one by one
        return []
    found = recognise(names, {}, "", gold=False).canonical
    return [name for name, canonical in found.items() if what in ("", canonical)]


def may_be_column(cell: str) -> bool:
    """Says whether a cell is the name of a column; most cells are not, and millions are asked."""
    if cell.isascii() and cell.isalnum() and not cell.isalpha():  # u000017: no name has a digit
        return False
    return _plain(cell) in _spellings()


def listed(names: list[str]) -> str:
    """Returns the names of columns as a message prints them."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f"'{shown(name, 40)}'" for name in names[:LISTED]) + more


def _guesses(cells: list[str]) -> list[str]:
    """Returns names for the cells of a row: the sound, then what else a row may have."""
    rest = iter(("label", "speaker", "text", *(f"column{i}" for i in range(len(cells)))))
    return ["audio" if cell.lower().endswith(SOUND_SUFFIXES) else next(rest) for cell in cells][
        :LISTED
    ]


def _same(plain: Mapping[str, str], wanted: str, header: Header) -> list[str]:
    """Returns the free headers that say `wanted`; the one written just so first."""
    same = [n for n, p in plain.items() if p == _plain(wanted) and n not in header.canonical]
    return sorted(same, key=lambda n: n != wanted)


@cache
def _spellings() -> frozenset[str]:
    """Returns every header that is known, as `_plain` has it."""
    names = [*COLUMNS, *(alias for aliases in ALIASES.values() for alias in aliases)]
    return frozenset(map(_plain, [*names, *MILLISECONDS, "offset"]))


def _plain(name: str) -> str:
    """Returns a header as compared: lower case, letters composed, without blanks, _ - ( ) [ ]."""
    return re.sub(r"[\s_()\[\]-]+", "", unicodedata.normalize("NFKC", name)).casefold()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
