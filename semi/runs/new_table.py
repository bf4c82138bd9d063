"""A table of utterances that a model has not seen, read without what labels it may have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ManifestError

if TYPE_CHECKING:
    import pandas as pd

    from ..config.schema import Config


def new_table(config: Config, path: str | Path) -> tuple[pd.DataFrame, str | None, list[int]]:
    """Returns a table, the run's feature store if it is here, row numbers (N,) if it has no ids."""
    from ..data.config import DataConfig
    from ..data.manifest import load_manifest
    from ..features.remote import store_there

    data = DataConfig(
        manifest=str(path), columns=dict(config.data.columns), workers=config.data.workers
    )
    try:
        manifest = load_manifest(path, data, gold=False)
    except ManifestError as error:
        if "data." in str(error):
            error.args = (f"{error}\n(predict takes no settings: change the table itself)",)
        raise
    print(manifest.reading, file=sys.stderr, flush=True)
    table = manifest.table
    config.data.manifest, config.data.audio_root = str(path), ""
    rows = [] if "id" in manifest.reading.named.values() else manifest.rows
    return table, store_there(config.features.store), rows
