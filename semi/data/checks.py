"""The checks of a manifest's columns: each returns the cleaned column and its problems."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false
# pyright: reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false
# pyright: reportReturnType=false

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .missing import MISSING
from .wording import counted, nearest, setting, shown

if TYPE_CHECKING:
    import pandas as pd

PROBLEMS_SHOWN = 50  # lines of problems; the rest is counted
ROWS_SHOWN = 3  # rows and cells named in a line that tells several problems
MANY = 6  # problems of one kind that share a line whatever their cells say
SPLIT_ALIASES = {
    **{name: "train" for name in ("train", "training", "trn")},
    **{name: "dev" for name in ("dev", "val", "valid", "validation", "development")},
    **{name: "test" for name in ("test", "testing", "eval", "evaluation")},
    **{name: "train" for name in ("학습", "훈련", "训练", "訓練", "学習", "тренировка")},
    **{name: "dev" for name in ("devel", "검증", "验证", "驗證", "検証", "validierung")},
    **{name: "test" for name in ("holdout", "heldout", "테스트", "평가", "测试", "テスト", "тест")},
    **{name: "unlabeled" for name in ("unlabeled", "unlabelled", "pool", "unsupervised")},
}
TOTALS = {"total", "totals", "grand total", "sum", "summe", "gesamt", "insgesamt", "合計", "合计"}
TOTALS |= {"总计", "總計", "합계", "총계", "итого", "всего", "somme", "suma", "totale", "toplam"}
NO_FILE = "no such file"  # of a sound
ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".csv", ".parquet")


@dataclass
class Problem:
    """One thing wrong with a manifest: where, what was given, and what to do."""

    file: str
    row: int | None  # as a spreadsheet counts (the header is row 1), or the line of a JSONL file
    column: str
    value: str
    reason: str
    remedy: str

    @property
    def is_missing_file(self) -> bool:
        """True where the row is in order and its sound is gone."""
        return self.column == "audio" and self.reason == NO_FILE

    def __str__(self) -> str:
        """Returns the problem as one sentence."""
        place = f"row {self.row}" if self.row is not None else ""
        return self.sentence(place, f"'{shown(self.value)}'" if self.value else "")

    def sentence(self, place: str, value: str) -> str:
        """Returns the sentence about a place and what stands there; '' where unknown."""
        column = f", {shown(self.column, 40)}" if self.column else ""
        where = " ".join(filter(None, [self.file, place])) + column + f" {value}" * bool(value)
        join = " " if self.reason.endswith("?") else "; "
        return f"{where}: {self.reason}{join}{self.remedy}"


def listing(problems: Sequence[Problem], path: str) -> str:
    """Returns the message of `problems`: PROBLEMS_SHOWN in full, the rest counted by kind."""
    head = f"{counted(len(problems), 'problem')} in {path}:"
    groups = _alike(problems)
    lines = [f"  {_sentence(group)}" for group in groups[:PROBLEMS_SHOWN]]
    rest = [problem for group in groups[PROBLEMS_SHOWN:] for problem in group]
    if rest:
        counts: dict[str, int] = {}
        for problem in rest:
            kind = f"{problem.column}: {problem.reason.split(' (')[0].split(';')[0]}"
            counts[kind] = counts.get(kind, 0) + 1
        kinds = ", ".join(f"{n} x {kind}" for kind, n in sorted(counts.items())[:5])
        lines.append(f"  ... and {len(rest)} more ({kinds})")
    return "\n".join([head, *lines])


def _alike(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Returns the problems that one line tells: of one cell's words, or many of one kind."""
    kinds: dict[tuple, list[Problem]] = {}
    for problem in problems:
        key = (problem.file, problem.column, problem.reason, problem.remedy, problem.row is None)
        kinds.setdefault(key, []).append(problem)
    groups: dict[tuple, list[Problem]] = {}
    for key, same in kinds.items():
        for problem in same:
            own = "" if len(same) >= MANY else problem.value
            groups.setdefault((*key, own), []).append(problem)
    return list(groups.values())


def _sentence(problems: list[Problem]) -> str:
    """Returns what is wrong in one row or several of them."""
    first, more = problems[0], len(problems) - ROWS_SHOWN
    if len(problems) == 1 or first.row is None:
        return "\n  ".join(dict.fromkeys(map(str, problems)))
    rows = ", ".join(str(problem.row) for problem in problems[:ROWS_SHOWN])
    rows += f" and {more:,} more ({len(problems):,} in all)" if more > 0 else ""
    values = list(dict.fromkeys(problem.value for problem in problems if problem.value))
    cells = ", ".join(f"'{shown(value)}'" for value in values[:ROWS_SHOWN])
    return first.sentence(f"rows {rows}", cells + " ..." * (len(values) > ROWS_SHOWN))


def problems_at(
    mask: pd.Series,
    rows: pd.Series,
    file: str,
    column: str,
    values: pd.Series | None,
    reason: str,
    remedy: str,
) -> list[Problem]:
    """Returns one Problem for every row where `mask` is true."""
    where = mask.to_numpy().nonzero()[0]
    return [
        Problem(
            file,
            int(rows.iloc[i]),
            column,
            "" if values is None or values.iloc[i] is None else str(values.iloc[i]),
            reason,
            remedy,
        )
        for i in where
    ]


def parse_numbers(
    column: pd.Series | None, name: str, rows: pd.Series, file: str, decimal_comma: bool
) -> tuple[pd.Series, list[Problem]]:
    """Returns the column as floats (NaN = missing) and a problem for each cell that is none."""
    import numpy as np
    import pandas as pd

    if column is None:
        return pd.Series(np.nan, index=range(len(rows)), dtype=float), []
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    missing = text.isin(MISSING)
    plain = text.str.replace(",", ".", regex=False) if decimal_comma else text
    numbers = pd.to_numeric(plain.where(~missing, None), errors="coerce").astype(float)
    bad = ~missing & ~np.isfinite(numbers)
    remedy = "write a plain number such as 3.5, or leave the cell empty"
    return numbers, problems_at(bad, rows, file, name, text, "not a number", remedy)


def split_named(cell: str) -> str | None:
    """Returns train, dev, test or unlabeled for a cell such as "Test" or "val_set", else None."""
    plain = re.sub(r"[\s_.-]+", "", cell.casefold())
    return SPLIT_ALIASES.get(plain) or SPLIT_ALIASES.get(re.sub("(set|data|split)$", "", plain))


def normalise_splits(
    column: pd.Series, rows: pd.Series, file: str
) -> tuple[pd.Series, list[Problem]]:
    """Returns train, dev, test or unlabeled (None where empty) and what is none of them."""
    import pandas as pd

    given = column.tolist()
    known = [None if v is None else split_named(v) for v in given]
    problems = [
        Problem(
            *(file, row, "split", value, f"unknown split{nearest(value, SPLIT_ALIASES)}"),
            "write train, dev, test or unlabeled, or leave the cell empty",
        )
        for row, value, name in zip(rows.tolist(), given, known, strict=True)
        if value is not None and name is None
    ]
    return pd.Series(known, dtype=object), problems


def find_audio(
    column: pd.Series, root: Path, rows: pd.Series, file: str
) -> tuple[pd.Series, list[Problem]]:
    """Returns absolute paths and a problem for each not there; each folder is listed once."""
    base = os.path.abspath(root)
    listed: dict[str, set[str]] = {}
    problems: list[Problem] = []
    out: list[str | None] = []
    for index, value in enumerate(column.tolist()):
        if value is None:
            out.append(None)
            continue
        given = value.replace("\\", "/") if os.sep == "/" else value
        if given.startswith("~"):
            given = os.path.expanduser(given)
        path = os.path.join(base, given)
        if "./" in given or "//" in given or given[-1:] in "./":  # the common case needs no mending
            path = os.path.normpath(path)
        folder, name = os.path.split(path)
        if folder not in listed:
            try:
                listed[folder] = set(os.listdir(folder))
            except OSError:
                listed[folder] = set()
        if name not in listed[folder]:
            path = _respelled(base, given) or path
        out.append(path)
        if name not in listed[folder] and not os.path.exists(path):
            remedy = _audio_remedy(path, folder, name, listed[folder])
            row = int(rows.iloc[index])
            problems.append(Problem(file, row, "audio", value, NO_FILE, remedy))
    import pandas as pd

    return pd.Series(out, dtype=object), problems


def _respelled(base: str, given: str) -> str | None:
    """Returns the file under the same letters in another Unicode form, as macOS writes them."""
    for form in ("NFC", "NFD"):
        path = os.path.normpath(os.path.join(base, unicodedata.normalize(form, given)))
        if not given.isascii() and os.path.isfile(path):
            return path
    return None


def _audio_remedy(path: str, folder: str, name: str, names: set[str]) -> str:
    if not names:
        where = "is empty" if os.path.isdir(folder) else "does not exist"
        return f"the folder {shown(folder, 160)} {where}: correct the path or set data.audio_root"
    same = next((n for n in names if n.lower() == name.lower()), None)
    if same is None:
        stem = os.path.splitext(name)[0]
        same = next((n for n in names if os.path.splitext(n)[0] == stem), None)
    # Close matching is quadratic in effort, so only small folders are searched by likeness.
    near = f"; did you mean '{same}'?" if same else nearest(name, names) if len(names) < 200 else ""
    path = shown(path, 160)
    return f"looked for {path}{near}" if near else f"looked for {path}: correct the path or add it"


def _check_ids(ids: pd.Series, rows: pd.Series, file: str, header: str) -> list[Problem]:
    """Returns the problems of ids: empty, twice, or those of a line of totals."""
    import pandas as pd

    empty = ids.isna()
    problems = problems_at(empty, rows, file, "id", None, "the id is empty", "give every row an id")
    twice = ids.duplicated(keep="first") & ~empty
    if twice.any():
        remedy = "make every id unique"
        if header not in ("", "id"):
            remedy += f", or set {setting('data.columns', {'id': ''})} if the column "
            remedy += f"'{shown(header, 40)}' names something else"
        first = dict(zip(ids[::-1], rows[::-1], strict=True))  # of equal keys the last pair stays
        for i in twice.to_numpy().nonzero()[0]:
            name = str(ids.iloc[i])
            reason = f"the id is already used in row {first[name]}"
            row = int(rows.iloc[i])
            problems.append(Problem(file, row, "id", name, reason, remedy))
    if len(ids) > 1 and str(ids.iloc[-1]).strip(" :").casefold() in TOTALS:
        last = pd.Series(range(len(ids))) == len(ids) - 1
        reason = "reads like a line of totals, not like an utterance"
        problems += problems_at(last, rows, file, "id", ids, reason, "delete the row")
    return problems


def check_content(
    table: pd.DataFrame, extra: list[str], rows: pd.Series, file: str, id_header: str = ""
) -> list[Problem]:
    """Returns the problems of rows as a whole: ids, labels on the pool, empty rows, time spans.

    `id_header` is the column that was taken for the ids, where it is called otherwise.
    """
    problems = _check_ids(table["id"], rows, file, id_header)
    labelled = table["label"].notna() | table["votes"].notna()
    problems += problems_at(
        (table["split"] == "unlabeled") & labelled,
        rows,
        file,
        "label",
        table["label"],
        "a label on a row whose split is unlabeled",
        "empty the label, or write train and hide labels with data.labeled_fraction",
    )
    has = table["audio"].notna() | table["text"].notna()
    if has.any():  # without any audio and text at all the features are precomputed ones
        for name in extra:
            cells = table[name].map(
                lambda v: isinstance(v, str) and v.strip().lower().endswith(ARRAY_SUFFIXES)
            )
            has |= cells.astype(bool)
        remedy = "fill in at least one of them, or delete the row"
        problems += problems_at(~has, rows, file, "", None, "neither audio nor text", remedy)
    backwards = table["end"] <= table["start"].fillna(0)
    problems += problems_at(
        backwards, rows, file, "end", table["end"], "not after start", "write seconds, end > start"
    )
    return problems
