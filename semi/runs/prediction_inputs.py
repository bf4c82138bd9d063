"""What `semi predict` is given, files and texts or a table, and what does not go together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ManifestError, SemiError

if TYPE_CHECKING:
    import pandas as pd

    from ..parallel import EngineConfig
    from .predict import Predictor


def refuse_together(
    audio: Sequence[str], texts: Sequence[str], manifest: str | Path | None,
    engine: EngineConfig | None,
) -> None:  # fmt: skip
    """Raises SemiError where files, a table and an engine do not go together."""
    if manifest is None:
        if engine is not None and not engine.alone:
            raise SemiError(
                "engine and processes go with --manifest: files and texts that are named one by "
                "one are labelled by this process"
            )
        return
    for word in audio:
        if "=" in word and not Path(word).exists():
            raise SemiError(
                f"'{word}' is no file, and beside --manifest no setting: semi predict takes "
                "engine, ray_address and processes"
            )
    if audio or texts:
        raise SemiError("give either files and --text, or --manifest, not both")


def check_read(
    predictor: Predictor, run: str | Path, audio: Sequence[str], texts: Sequence[str]
) -> None:
    """Raises ManifestError where something is given that the model would pass over."""
    dims = predictor.model.ensemble.dims
    for modality, given, what in (("text", texts, "--text"), ("speech", audio, "the audio files")):
        if given and modality not in dims:
            raise ManifestError(
                f"the model of {run} reads {' and '.join(dims)} alone, no {modality}: leave out "
                f"{what}"
            )


def manifest_table(
    predictor: Predictor, path: str | Path
) -> tuple[pd.DataFrame, str | None, list[int]]:
    """Returns a table, the run's feature store if it is here, row numbers (N,) if it has no ids."""
    from ..data.columns import INPUTS, refuse_unnamed
    from ..data.config import DataConfig
    from ..data.manifest import load_manifest
    from ..features.remote import store_there

    config = predictor.model.config
    data = DataConfig(
        manifest=str(path), columns=dict(config.data.columns), workers=config.data.workers
    )
    try:
        manifest = load_manifest(path, data, gold=False)
        for name in INPUTS:
            if getattr(config.encoders, name).model not in ("none", "precomputed"):
                refuse_unnamed(manifest, name, settings=False)
    except ManifestError as error:
        if "data." in str(error):
            error.args = (f"{error}\n(predict takes no settings: change the table itself)",)
        raise
    print(manifest.reading, file=sys.stderr, flush=True)
    table = manifest.table
    config.data.manifest, config.data.audio_root = str(path), ""
    rows = [] if "id" in manifest.reading.named.values() else list(manifest.rows)
    return table, store_there(config.features.store), rows
