"""Labels for new utterances: `load(run).predict(...)`, on the CPU anywhere."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ManifestError, SemiError
from ..files import check_table, write_table
from .new_arrays import parse_arrays, read_from

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..features.tensors import Features
    from ..self_training.model_dir import Model

NOTHING = "nothing to go by"


def load(run: str | Path, *, device: str = "cpu") -> Predictor:
    """Returns the model of a run's folder, or of its folder model/ copied anywhere."""
    from ..self_training.model_dir import load_model

    return Predictor(load_model(run, device=device))


class Predictor:
    """A trained model that reads utterances.

    Expected usage:

        model = semi.load("runs/demo")
        table = model.predict(["a.wav", "b.wav"], texts=["...", None])
        table[["id", "label", "confidence"]]
    """

    def __init__(self, model: Model):
        self.model = model
        self.classes = model.classes

    def predict(
        self,
        audio: Sequence[str | Path | None] | pd.DataFrame | None = None,
        texts: Sequence[str | None] | None = None,
        *,
        store: str | Path | None = None,
        arrays: Mapping[str, str | Path] | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Returns one row an utterance: id, label, confidence, p_<class>, each modality's vote.

        A row of which no modality can be used has no label; `note` says why.

        Args:
            audio: (N,) files, or a manifest's table with its columns.
            texts: (N,) what was said; None = unknown.
            store: feature store to read from and add to; None = a temporary one.
            arrays: modality -> .npz file or folder, in place of what the model was trained on.
            progress: show a bar while features are extracted.
        """
        given: Any = audio
        table = given if hasattr(given, "columns") else utterances(given, texts)
        if "id" not in table:
            raise ManifestError("the table to label has no column id; give each row a unique one")
        read_from(self.model.config.encoders, arrays or {})
        with ExitStack() as stack:
            if store is None:
                # a stored feature is found again by its content, so a temporary store is only slow
                store = stack.enter_context(tempfile.TemporaryDirectory(prefix="semi-"))
            features, notes = self.features(table, store, progress=progress)
            return self.answer(features, table, notes)

    def features(
        self, table: pd.DataFrame, store: str | Path, *, progress: bool = False
    ) -> tuple[Features, dict[str, str]]:
        """Returns the standardised features of N rows, and per id what could not be read."""
        from ..features.extract import open_encoders
        from ..features.read import read_features
        from ..features.sequences import sequences
        from ..features.sources import Limits
        from ..self_training.model_dir import same_encoder

        model, data = self.model, self.model.config.data
        opened = open_encoders(model.config)
        encoders = {name: e for name, e in opened.items() if name in model.identities}
        raw = read_features(
            table, encoders, store, Limits(data.min_seconds, data.max_seconds),
            workers=data.workers, frames=model.config.encoders.keeps_frames, some=True,
            progress=progress,
        )  # fmt: skip
        for name, count in raw.extraction.modalities.items():
            if count.done + count.cached:
                same_encoder(name, model.identities[name], encoders[name].identity())
        dims, profiles = model.ensemble.dims, model.standardizer.profiles
        speakers = table["speaker"].tolist() if "speaker" in table else None
        notes: dict[str, str] = {}
        for lost in raw.extraction.quarantine:
            notes[lost.id] = "; ".join(filter(None, [notes.get(lost.id), lost.reason]))
        if raw.frames:
            frames = model.standardizer.apply_frames(raw.frames, speakers)
            features = sequences(frames, model.config.features.max_frames)
            return _in_order(features, dims, len(table)), notes
        width = {m: len(profiles[m].mean) for m in dims}
        vectors = _in_order(raw.vectors, width, len(table))
        return model.standardizer.apply(vectors, speakers), notes

    def _reads(self) -> str:
        """Returns what this model goes by, for a row that has something else."""
        encoders, inputs = self.model.config.encoders, []
        for name in self.model.identities:
            model = getattr(getattr(encoders, name, None), "model", "precomputed")
            inputs.append(name + " from precomputed arrays" * (model == "precomputed"))
        return f": this model reads {' and '.join(inputs)}"

    def answer(self, features: Features, table: pd.DataFrame, notes: dict[str, str]) -> Any:
        """Returns the table of answers to standardised features (N rows)."""
        from ..training.teacher import answer
        from .answers import table_of

        model = self.model
        features = features.to(model.config.device)
        outputs = answer(
            model.ensemble, model.voter, features.values, features.present, model.chains
        )
        readable = features.present.any(1).cpu().numpy()
        return table_of(model, outputs, features, table, self._notes(table, readable, notes))

    def _notes(self, table: pd.DataFrame, readable: np.ndarray, notes: dict[str, str]) -> list[str]:
        """Returns why each row lacks an input or has no answer (N,); '' where nothing is wrong."""
        import numpy as np

        given = np.zeros(len(table), dtype=bool)
        for name in {"audio", "text"} & set(table.columns):
            given |= table[name].notna().to_numpy()
        reads = self._reads()
        return [
            notes.get(i, "" if ok else NOTHING + (reads if has else ""))
            for i, ok, has in zip(table["id"].astype(str).tolist(), readable, given, strict=True)
        ]


def _in_order(features: Features | None, widths: dict[str, int], n: int) -> Features:
    """Returns the features with every modality of the model, absent where nothing was found."""
    import torch

    from ..features.tensors import Features

    features = features or Features({}, torch.zeros(n, 0, dtype=torch.bool))
    values = {m: features.values.get(m, torch.zeros(n, width)) for m, width in widths.items()}
    present = [
        features.present[:, features.names.index(m)]
        if m in features.names
        else torch.zeros(n).bool()
        for m in widths
    ]
    return Features(values, torch.stack(present, 1), list(widths))


def utterances(
    audio: Sequence[str | Path | None] | None, texts: Sequence[str | None] | None
) -> pd.DataFrame:
    """Returns the manifest table of some files, some texts, or pairs of both."""
    import pandas as pd

    from ..data.manifest import COLUMNS

    audio = [audio] if isinstance(audio, (str, Path)) else list(audio or [])
    texts = [texts] if isinstance(texts, str) else list(texts or [])
    if not audio and not texts:
        raise ManifestError("nothing to label: give audio files, --text, or --manifest table.csv")
    if audio and texts and len(audio) != len(texts):
        raise ManifestError(
            f"{len(audio)} audio files but {len(texts)} texts; give one text per file, or none"
        )
    n = max(len(audio), len(texts))
    audio, texts = audio or [None] * n, texts or [None] * n
    names = [str(a) if a is not None else f"text {i + 1}" for i, a in enumerate(audio)]
    if len(set(names)) < n:
        raise ManifestError("the same audio file is given twice; each utterance is labelled once")
    table = pd.DataFrame({c: pd.Series([None] * n, dtype=object) for c in COLUMNS})
    table["id"], table["text"] = names, pd.Series(texts, dtype=object)
    paths = [os.path.abspath(a) if a is not None else None for a in audio]
    table["audio"] = pd.Series(paths, dtype=object)
    for name in ("valence", "arousal", "seconds", "start", "end"):
        table[name] = float("nan")
    return table


def predict(
    run: str | Path,
    audio: Sequence[str] = (),
    texts: Sequence[str] = (),
    *,
    manifest: str | Path | None = None,
    arrays: Sequence[str] = (),
    output: str | Path | None = None,
) -> str:
    """Labels files, texts or a manifest and returns one line each, or where the table went."""
    from .answers import lines

    if output is not None:
        check_table(output)
    predictor = load(run)
    store = None
    if manifest is None:
        table = utterances(audio, texts)
        missing = [a for a in audio if not os.path.isfile(a)]
        folders = [a for a in missing if os.path.isdir(a)]
        if folders:
            raise ManifestError(
                f"{folders[0]} is a folder; give its files, such as {folders[0].rstrip('/')}/*.wav,"
                " or a table of them with --manifest"
            )
        if missing:
            raise ManifestError(f"no such audio file: {', '.join(missing[:5])}")
    elif audio or texts:
        raise SemiError("give either files and --text, or --manifest, not both")
    else:
        table, store = _manifest_table(predictor, manifest)
    answers = predictor.predict(
        table, store=store, arrays=parse_arrays(list(arrays)), progress=manifest is not None
    )
    if output is None:
        return "\n".join(lines(answers))
    write_table(output, answers)
    column = "label" if "label" in answers else "valence"
    lost = int(answers[column].isna().to_numpy().sum())
    partly = sum(note != "" for note in answers["note"].tolist()) - lost
    more = f", {lost} of them without a label" if lost else ""
    more += f", {partly} of them without an input that cannot be used" if partly else ""
    more += " (see the column note)" if more else ""
    return f"{output}: {len(answers)} utterances{more}"


def _manifest_table(predictor: Predictor, path: str | Path) -> tuple[pd.DataFrame, str | None]:
    """Returns a manifest's table, and the run's feature store if it is here."""
    from ..data.config import DataConfig
    from ..data.manifest import load_manifest

    config = predictor.model.config
    data = DataConfig(
        manifest=str(path), columns=dict(config.data.columns), workers=config.data.workers
    )
    manifest = load_manifest(path, data, gold=False)
    print(manifest.reading, file=sys.stderr, flush=True)
    table = manifest.table
    config.data.manifest, config.data.audio_root = str(path), ""
    store = config.features.store
    return table, store if os.path.isdir(store) else None
