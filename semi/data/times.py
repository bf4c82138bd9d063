"""Times of segments: seconds, clock times and durations as text; units that were mistaken."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING

from .checks import Problem, parse_numbers, problems_at
from .headers import MILLISECONDS
from .missing import MISSING
from .wording import WARNING, counted, setting, shown

if TYPE_CHECKING:
    import pandas as pd

    from .config import DataConfig

CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d+)?)")  # h:mm:ss.mmm or mm:ss
TIME_NAMES = re.compile(
    r"start|begin|onset|offset|from|end|stop|finish|sample|frame|^to$|time|시작|끝"
)
REMEDY = "write seconds such as 3.5, a time such as 0:01:30.5, or leave the cell empty"


def seconds_of(text: str) -> float | None:
    """Returns the seconds of '1:02.5', '0:01:02,5', '0 days 00:01:02.5', '1500 ms' or 'PT62.5S'.

    None where it is no time. A clock of two parts is minutes and seconds.
    """
    match = CLOCK.fullmatch(text)
    if match:
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if not any(c.isalpha() for c in text):
        return None
    import pandas as pd

    try:
        with warnings.catch_warnings():  # pandas says of some units that they will be spelled anew
            warnings.simplefilter("ignore")
            value = pd.to_timedelta(text)
    except (ValueError, OverflowError):
        return None
    return None if value is pd.NaT else value.total_seconds()


def parse_times(
    column: pd.Series | None, name: str, rows: pd.Series, file: str, decimal_comma: bool
) -> tuple[pd.Series, list[Problem]]:
    """Returns the column in seconds (NaN = missing) and a problem for each cell that is no time."""
    numbers, bad = parse_numbers(column, name, rows, file, decimal_comma)
    if column is None:
        return numbers, bad
    numbers = numbers.where(numbers.abs() < math.inf)
    if bad:
        cells = column.astype(object).where(column.notna(), "").astype(str).str.strip()
        known = {cell: seconds_of(cell) for cell in set(cells.tolist()) - MISSING}
        read = cells.map(known).astype(float)
        wrong = numbers.isna() & read.isna() & ~cells.isin(MISSING)
        numbers = numbers.where(numbers.notna(), read)
        bad = problems_at(wrong, rows, file, name, cells, "not a time", REMEDY)
    early = numbers < 0
    bad += problems_at(
        early, rows, file, name, numbers, "a time before 0", "write seconds, 0 or more"
    )
    return numbers, bad


def end_by_duration(table: pd.DataFrame, headers: dict[str, str]) -> list[str]:
    """Fills `end` from start and duration, in place, where the table has no end; returns a note.

    `headers` says which column each canonical name came from.
    """
    if "start" not in headers or "seconds" not in headers or "end" in headers:
        return []
    table["end"] = table["start"] + table["seconds"]
    start, seconds = headers["start"], headers["seconds"]
    return [f"end is {shown(start, 40)} + {shown(seconds, 40)}, as there is no column of it"]


def whole_sounds(table: pd.DataFrame, carried: list[str]) -> list[str]:
    """Returns a warning where several rows hear the same sound, as where times were not read."""
    cells = zip(*(table[name].tolist() for name in ("audio", "start", "end")), strict=True)
    spans = Counter((a, str(start), str(end)) for a, start, end in cells if a is not None)
    twice = sum(count for count in spans.values() if count > 1)
    if not twice:
        return []
    names = [name for name in carried if TIME_NAMES.search(name.casefold())]
    hint = ""
    if names:
        columns = dict(zip(("start", "end"), names, strict=False))
        hint = f"; if {' and '.join(shown(n, 40) for n in names[:2])} are their times, set "
        hint += setting("data.columns", columns) + ' (in ms: "start_ms", "end_ms")'
    return [f"{WARNING}{counted(twice, 'row')} name the same sound as another, whole{hint}"]


def mistaken_unit(
    table: pd.DataFrame, headers: dict[str, str], config: DataConfig, file: str
) -> list[Problem]:
    """Returns a problem where most segments are longer than `config.max_seconds`.

    `headers` says which column each canonical name came from. No row of such a table could be used.
    """
    lengths = (table["end"] - table["start"].fillna(0.0)).dropna()
    middle = float(lengths.median()) if len(lengths) else math.nan
    if not middle > config.max_seconds:
        return []
    reason = f"half of the segments are longer than {middle:g} s (data.max_seconds is "
    reason += f"{config.max_seconds:g})"
    if config.min_seconds <= middle / 1000 <= config.max_seconds:
        names = {f"{name}_ms": headers[name] for name in ("start", "end") if name in headers}
        names = {name: header for name, header in names.items() if name in MILLISECONDS}
        remedy = f"if these are milliseconds, set {setting('data.columns', names)}"
    else:
        remedy = "write seconds from the beginning of the sound, or raise data.max_seconds"
    return [Problem(file, None, "start, end", "", reason, remedy)]
