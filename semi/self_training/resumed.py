"""Whether a begun run's rows stand on the sides that this version of semi draws."""

from __future__ import annotations

from pathlib import Path

from ..data.manifest import Manifest
from ..data.roles import Splits
from ..errors import RunError


def refuse_other_sides(path: Path, manifest: Manifest, splits: Splits) -> None:
    """Raises RunError where the rows of a run stood on other sides, or in another order.

    So it is with runs of versions that drew otherwise: their test rows would be training rows here.
    Rows that could not be used are left out of the comparison.
    """
    import pandas as pd

    source = path / "splits.csv"
    if not source.is_file():
        return
    before = pd.read_csv(source, dtype=str, keep_default_na=False)
    same = before["id"].tolist() == manifest.table["id"].astype(str).tolist()
    if same:
        used = (before["role"] != "unused").to_numpy()
        same = bool((before["role"].to_numpy()[used] == splits.role[used]).all())
        parts = before["fold"].to_numpy()[used]
        pairs = set(zip(parts.tolist(), splits.fold[used].tolist(), strict=True))
        same = same and len(pairs) == len(set(parts.tolist()))
    if not same:
        raise RunError(
            f"{path} drew its test rows, labels or folds otherwise than this version of semi does, "
            "so its rows cannot be told apart again; use the version it was made with, or train it "
            "anew under another name (semi predict and semi export work as before)"
        )
