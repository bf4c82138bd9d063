"""KEMDy20: free talk of 80 speakers in 40 sessions, with EDA, temperature and heart beats.

annotation/SessNN_eval.csv, wav/SessionNN/<id>.wav and .txt, EDA|TEMP|IBI/SessionNN/<id - 4>.csv;
id = SessNN_scriptMM_UserXXXG_KKK.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from .emotions import Spelling
from .files import Tree
from .kemdy import check_options, finish, join_files
from .sheets import SEGMENT, Sheet, read_sheet, sheet_notes

if TYPE_CHECKING:
    import pandas as pd


def read_kemdy20(
    tree: Tree,
    *,
    tags: str = "keep",
    votes: str = "raters",
    missing: str = "drop",
    biosignals: str = "",
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of KEMDy20 and notes; `biosignals` is a folder to write features into."""
    check_options(tags, votes, missing)
    spelling = Spelling()
    found = tree.matching(r"Sess(?:ion)?(\d+)_eval\.csv")
    if not found:
        raise ManifestError(
            f"{tree.folder}: no rating sheet such as annotation/Sess01_eval.csv beneath it; give "
            "the folder of KEMDy20"
        )
    sheets, records = [], []
    for path, match in sorted(found, key=lambda pair: pair[0].name.lower()):
        session = f"Sess{int(match[1]):02d}"
        sheet = read_sheet(tree.rows(path), path, session, spelling)
        sheets.append(sheet)
        records += _utterances(sheet, session)
    rows, notes = join_files(tree, records, tags=tags, missing=missing, signal_stem="recording")
    table, more = finish(rows, spelling, votes)
    notes = [more[0], *sheet_notes(sheets), *notes, *more[1:]]
    if biosignals:
        from ..biosignals import write_biosignals

        notes += write_biosignals(tree.folder, Path(biosignals), table["id"].tolist())
    return table, notes


def _utterances(sheet: Sheet, session: str) -> list[dict[str, Any]]:
    """Returns a record a rating; ids without a user, of the other corpus, are added to strange."""
    records = []
    for rating in sheet.ratings:
        parts = SEGMENT.fullmatch(rating.id)
        speaker = parts[3].split("_")[0] if parts else ""  # User002M
        if not parts or len(speaker) < 5:
            sheet.strange.append(rating.id)
            continue
        records.append(
            {
                "id": rating.id,
                "label": rating.label,
                "votes": rating.votes or None,
                "valence": rating.valence,
                "arousal": rating.arousal,
                "speaker": speaker,
                "gender": speaker[-1].lower(),
                "session": session,
                "dialogue": f"{session}_{parts[2]}",
                "split": None,
                "language": "ko",
                "recording": rating.id.rpartition("_")[0],
            }
        )
    return records
