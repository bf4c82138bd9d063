"""Times of segments: seconds, clock times and durations as text; units that were mistaken."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING

from .checks import Problem, parse_numbers, problems_at
from .headers import MILLISECONDS
from .missing import MISSING
from .wording import setting

if TYPE_CHECKING:
    import pandas as pd

    from .config import DataConfig

CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d+)?)")  # h:mm:ss.mmm or mm:ss
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
