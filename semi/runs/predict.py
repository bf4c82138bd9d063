"""Labels for new utterances: `load(run).predict(...)`, on the CPU anywhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.task import task_of
from ..errors import ManifestError, SemiError
from ..files import check_table, write_table

if TYPE_CHECKING:
    import pandas as pd

    from ..features.tensors import Features
    from ..self_training.model_dir import Model

NOTHING = "nothing to go by"
AFFECT = ("valence", "arousal")


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
        progress: bool = False,
    ) -> pd.DataFrame:
        """Returns one row an utterance: id, label, confidence, p_<class>, each modality's vote.

        A row of which no modality can be used has no label; `note` says why.

        Args:
            audio: (N,) files, or a manifest's table with its columns.
            texts: (N,) what was said; None = unknown.
            store: feature store to read from and add to; None = a temporary one.
            progress: show a bar while features are extracted.
        """
        given: Any = audio
        table = given if hasattr(given, "columns") else utterances(given, texts)
        if "id" not in table:
            raise ManifestError("the table to label has no column id; give each row a unique one")
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
        import torch

        from ..config.schema import keeps_frames
        from ..features.extract import extract_rows, open_encoders
        from ..features.sequences import sequences
        from ..features.sources import Limits
        from ..features.store import FeatureStore
        from ..features.table import load_features, load_frames
        from ..features.tensors import Features
        from ..self_training.model_dir import same_encoder

        model, data = self.model, self.model.config.data
        encoders = open_encoders(model.config)
        shelf, limits = FeatureStore(store), Limits(data.min_seconds, data.max_seconds)
        settings: dict[str, Any] = {"limits": limits, "workers": data.workers}
        encoders = {n: e for n, e in encoders.items() if n in model.identities}
        done = extract_rows(table, encoders, shelf, progress=progress, **settings)
        used = [n for n, count in done.modalities.items() if count.done + count.cached]
        for name in used:
            same_encoder(name, model.identities[name], encoders[name].identity())
        dims, n = model.ensemble.dims, len(table)
        profiles = model.standardizer.profiles
        width = {m: len(profiles[m].mean) for m in dims}
        speakers = table["speaker"].tolist() if "speaker" in table else None
        notes: dict[str, str] = {}
        for lost in done.quarantine:
            notes[lost.id] = "; ".join(filter(None, [notes.get(lost.id), lost.reason]))
        found = Features({}, torch.zeros(n, 0, dtype=torch.bool))
        mine = {n: encoders[n] for n in used}
        if used and keeps_frames(model.config.encoders):
            frames = load_frames(table, mine, shelf, **settings)
            frames = model.standardizer.apply_frames(frames, speakers)
            found = sequences(frames, model.config.features.max_frames)
            return _in_order(found, dims, n), notes
        if used:
            found = load_features(table, mine, shelf, **settings)
        raw = _in_order(found, width, n)
        return model.standardizer.apply(raw, speakers), notes

    def _reads(self) -> str:
        """Returns what this model goes by, for a row that has something else."""
        encoders, told = self.model.config.encoders, []
        for name in self.model.identities:
            model = getattr(getattr(encoders, name, None), "model", "precomputed")
            told.append(name + " from precomputed arrays" * (model == "precomputed"))
        return f": this model reads {' and '.join(told)}"

    def answer(self, features: Features, table: pd.DataFrame, notes: dict[str, str]) -> Any:
        """Returns the table of answers to standardised features (N rows)."""
        import numpy as np
        import pandas as pd

        from ..self_training.multitask_record import several_words
        from ..self_training.teacher import answer

        model = self.model
        features = features.to(model.config.device)
        said = answer(model.ensemble, model.voter, features.values, features.present, model.chains)
        names, usable = np.array(model.classes), features.present.any(1).cpu().numpy()
        probs = said.probs.cpu().numpy().astype(float)
        ids = table["id"].astype(str).tolist()

        given = np.zeros(len(table), dtype=bool)
        for name in {"audio", "text"} & set(table.columns):
            given |= table[name].notna().to_numpy()
        reads = self._reads()
        why = [
            notes.get(i, "" if ok else NOTHING + (reads if has else ""))
            for i, ok, has in zip(ids, usable, given, strict=True)
        ]

        def vote(p, here) -> tuple[list, list]:
            """Returns label and confidence per row, None where the row cannot vote."""
            if model.voter.multi:  # 'a;b'; as sure as of the least sure of its classes
                words = several_words(p, model.classes)
                label = [w if ok else None for w, ok in zip(words, here, strict=True)]
                return label, np.where(here, np.maximum(p, 1 - p).min(1), np.nan).tolist()
            label = [str(names[k]) if ok else None for k, ok in zip(p.argmax(1), here, strict=True)]
            return label, np.where(here, p.max(1), np.nan).tolist()

        columns: dict[str, Any] = {"id": ids}
        if said.affect is not None:
            affect = said.affect.cpu().numpy().astype(float)
            columns |= {a: np.where(usable, affect[:, i], np.nan) for i, a in enumerate(AFFECT)}
        if task_of(model.config).kind == "affect":
            columns["note"] = why
            return pd.DataFrame(columns, index=table.index)
        columns["label"], columns["confidence"] = vote(probs, usable)
        for k, name in enumerate(model.classes):
            columns[f"p_{name}"] = np.where(usable, probs[:, k], np.nan)
        for h, head in enumerate(model.voter.heads):
            if head not in features.names:
                continue
            here = features.present[:, features.names.index(head)].cpu().numpy()
            label, sure = vote(said.by_head[h].cpu().numpy().astype(float), here)
            columns[f"{head}_label"], columns[f"{head}_confidence"] = label, sure
        columns["note"] = why
        return pd.DataFrame(columns, index=table.index)


def _in_order(found: Features, widths: dict[str, int], n: int) -> Features:
    """Returns the features with every modality of the model, absent where nothing was found."""
    import torch

    from ..features.tensors import Features

    values = {m: found.values.get(m, torch.zeros(n, width)) for m, width in widths.items()}
    here = [
        found.present[:, found.names.index(m)] if m in found.names else torch.zeros(n).bool()
        for m in widths
    ]
    return Features(values, torch.stack(here, 1), list(widths))


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
    output: str | Path | None = None,
) -> str:
    """Labels files, texts or a manifest and returns one line each, or where the table went."""
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
    answers = predictor.predict(table, store=store, progress=manifest is not None)
    if output is None:
        return "\n".join(lines(answers))
    write_table(output, answers)
    told = "label" if "label" in answers else AFFECT[0]
    lost = int(answers[told].isna().to_numpy().sum())
    partly = sum(note != "" for note in answers["note"].tolist()) - lost
    more = f", {lost} of them without a label" if lost else ""
    more += f", {partly} of them without an input that cannot be used" if partly else ""
    more += " (see the column note)" if more else ""
    return f"{output}: {len(answers)} utterances{more}"


def lines(answers: pd.DataFrame) -> list[str]:
    """Returns one line an utterance: label, confidence, votes of the modalities."""
    heads = [c[: -len("_label")] for c in answers.columns if c.endswith("_label")]
    found = []
    for row in answers.to_dict("records"):
        affect = [f"{a} {row[a]:.2f}" for a in AFFECT if row.get(a) is not None]
        if "label" not in row:
            told = ", ".join(affect) if not row["note"] else f"-  ({row['note']})"
            found.append(f"{row['id']}  {told}")
            continue
        if row["label"] is None or row["label"] != row["label"]:
            found.append(f"{row['id']}  -  ({row['note']})")
            continue
        votes = [
            f"{h}: {row[f'{h}_label']} {row[f'{h}_confidence']:.2f}"
            for h in heads
            if isinstance(row[f"{h}_label"], str)
        ]
        votes += affect + ([row["note"]] if row["note"] else [])
        told = f"  ({', '.join(votes)})" if votes else ""
        found.append(f"{row['id']}  {row['label']} {row['confidence']:.2f}{told}")
    return found


def _manifest_table(predictor: Predictor, path: str | Path) -> tuple[pd.DataFrame, str | None]:
    """Returns a manifest's table, and the run's feature store if it is here."""
    from ..data.config import DataConfig
    from ..data.manifest import load_manifest

    config = predictor.model.config
    data = DataConfig(manifest=str(path), workers=config.data.workers)
    table = load_manifest(path, data, gold=False).table
    config.data.manifest, config.data.audio_root = str(path), ""
    store = config.features.store
    return table, store if os.path.isdir(store) else None
