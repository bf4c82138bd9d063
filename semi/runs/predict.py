"""Labels for new utterances: `load(run).predict(...)`, on the CPU anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ManifestError, RunError, SemiError
from ..files import check_table
from .new_arrays import parse_arrays
from .prediction_inputs import check_read, manifest_table, refuse_together
from .prediction_parts import joined, labelled_parts
from .utterances import check_files, in_folders, utterances, with_sounds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.encoders import Encoder

    from ..features.sources import Rows
    from ..features.store import FeatureStore
    from ..features.tensors import Features
    from ..parallel import EngineConfig
    from ..self_training.model_dir import Model
    from .hub_upload import Pushed

NOTHING = "nothing to go by"


def load(run: str | Path, *, device: str = "cpu") -> Predictor:
    """Returns the model of a run's folder, of its folder model/ copied anywhere, or of the hub.

    Args:
        run: a folder; or org/name or org/name@revision, a model on the Hugging Face hub that is no
            folder here (hf://org/name is one in any case).
        device: where it answers, such as cuda.
    """
    from ..hub_names import hub_name
    from ..self_training.model_dir import load_model
    from .hub_download import fetched
    from .published_model import published_settings

    name = hub_name(run)
    folder = Path(run) if name is None else fetched(name)
    predictor = Predictor(load_model(folder, device=device))
    predictor.folder = folder
    if name is not None:  # places of its owner's machine, and addresses, are not followed here
        predictor.model.config = published_settings(predictor.model.config)
    return predictor


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
        self.folder: Path | None = None  # that it was loaded from

    def __repr__(self) -> str:
        """Returns what a prompt shows: what came of the run, and what the model tells apart."""
        sentence = self.model.facts.get("sentence") or "A model without a run."
        return f"{sentence}\nClasses: {', '.join(self.classes)}"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the run, or of a folder model/ alone what it is."""
        from ..evaluation.notebook import words_html

        if self.folder is not None and (self.folder / "result.json").is_file():
            from ..self_training.report import run_fragment

            return run_fragment(self.folder)
        return words_html(repr(self))

    def predict(
        self,
        audio: Sequence[Any] | pd.DataFrame | None = None,
        texts: Sequence[str | None] | None = None,
        *,
        store: str | Path | None = None,
        arrays: Mapping[str, str | Path] | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Returns one row an utterance: id, label, confidence, p_<class>, each modality's vote.

        A row of which no modality can be used has no label; `note` says why.

        Args:
            audio: (N,) sounds, or a manifest's table with its columns. A sound is a path, (array,
                rate), a dict of `array` and `sampling_rate` or of `bytes`, bytes or a file object;
                arrays are (frames,), (frames, channels) or (channels, frames): the shorter side is
                the channels. None = unknown.
            texts: (N,) what was said; None = unknown.
            store: feature store to read from and add to; None = a temporary one.
            arrays: modality -> .npz file or folder, in place of what the model was trained on.
            progress: show a bar while features are extracted.
        """
        import pandas as pd

        given: Any = audio
        table = with_sounds(given) if hasattr(given, "columns") else utterances(given, texts)
        answers = self.columns(table, store=store, arrays=arrays, progress=progress)
        return pd.DataFrame(answers, index=getattr(table, "index", None))

    def columns(
        self,
        table: Rows,
        *,
        store: str | Path | None = None,
        arrays: Mapping[str, str | Path] | None = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Returns what `predict` does as columns, each with one entry a row; without pandas."""
        if "id" not in table:
            raise ManifestError("the table to label has no column id; give each row a unique one")
        return joined(labelled_parts(self, table, store, arrays or {}, progress=progress))

    def predict_windows(
        self, audio: Any, *, seconds: float = 5.0, hop: float | None = None, progress: bool = False
    ) -> pd.DataFrame:
        """Returns one row a window of long recordings: path, start, end, then as `predict` does.

        A window that cannot be used, such as a silent one, has no label and a `note`; so has a
        recording that cannot be read to its end. Memory does not grow with the length. What a model
        reads beside speech is missing here, as for a file without a text.

        Args:
            audio: a recording or several: paths, or whatever else `predict` takes.
            seconds: length of a window; where the sound goes on behind the last that fits, one
                more takes the rest, which is shorter.
            hop: seconds from one start to the next; None = half a window.
            progress: show a bar.
        """
        from .windows import label_windows

        return label_windows(self, audio, seconds=seconds, hop=hop, progress=progress)

    def push_to_hub(self, name: str, *, private: bool = True, **more: Any) -> Pushed:
        """Uploads the model and a card made from its run to the Hugging Face hub.

        Args:
            name: org/name.
            private: of a repository that is made now.
            more: words, card, overwrite, dry_run and places, as of `semi.runs.hub_upload.push`.
        """
        from .hub_upload import push

        if self.folder is None:
            raise RunError("only a model of a folder can be pushed; open it with semi.load(RUN)")
        return push(self.folder, name, private=private, **more)

    def encoders(self) -> dict[str, Encoder]:
        """Returns the encoders of the modalities that the model reads."""
        from ..features.extract import open_encoders

        opened = open_encoders(self.model.config)
        return {name: e for name, e in opened.items() if name in self.model.identities}

    def features(
        self,
        table: Rows,
        store: str | Path | FeatureStore,
        *,
        encoders: dict[str, Encoder] | None = None,
        progress: bool = False,
    ) -> tuple[Features, dict[str, str]]:
        """Returns the standardised features of N rows, and per id what could not be read."""
        from ..features.read import read_features
        from ..features.sequences import sequences
        from ..features.sources import Limits, column
        from ..features.tensors import in_order
        from ..self_training.model_dir import same_encoder

        model, data = self.model, self.model.config.data
        encoders = self.encoders() if encoders is None else encoders
        raw = read_features(
            table, encoders, store, Limits(data.min_seconds, data.max_seconds),
            workers=data.workers, frames=model.config.encoders.keeps_frames, some=True,
            progress=progress,
        )  # fmt: skip
        for name, count in raw.extraction.modalities.items():
            if count.done + count.cached:
                same_encoder(name, model.identities[name], encoders[name].identity())
        dims, profiles = model.ensemble.dims, model.standardizer.profiles
        speakers, rows = column(table, "speaker"), len(table["id"])
        notes: dict[str, str] = {}
        for lost in raw.extraction.quarantine:
            reason = lost.reason
            if "data.max_seconds" in reason:  # a setting of training, and none of predict
                most = f"this model takes sounds of up to {data.max_seconds:g} s"
                reason = f"too long: {most}; label it piece by piece with --windows"
            notes[lost.id] = "; ".join(filter(None, [notes.get(lost.id), reason]))
        if raw.frames:
            frames = model.standardizer.apply_frames(raw.frames, speakers)
            features = sequences(frames, model.config.features.max_frames)
            return in_order(features, dims, rows), notes
        width = {m: len(profiles[m].mean) for m in dims}
        vectors = in_order(raw.vectors, width, rows)
        return model.standardizer.apply(vectors, speakers), notes

    def _reads(self) -> str:
        """Returns what this model goes by, for a row that has something else."""
        encoders, inputs = self.model.config.encoders, []
        for name in self.model.identities:
            model = getattr(getattr(encoders, name, None), "model", "precomputed")
            inputs.append(name + " from precomputed arrays" * (model == "precomputed"))
        return f": this model reads {' and '.join(inputs)}"

    def answer(self, features: Features, table: Rows, notes: dict[str, str]) -> dict[str, Any]:
        """Returns the columns of answers to standardised features (N rows)."""
        from ..training.teacher import answer
        from .prediction_table import columns_of

        model = self.model
        features = features.to(model.config.device)
        outputs = answer(
            model.ensemble, model.voter, features.values, features.present, model.chains
        )
        readable = features.present.any(1).cpu().numpy()
        ids = [str(i) for i in table["id"]]
        return columns_of(model, outputs, features, ids, self._notes(table, readable, notes))

    def _notes(self, table: Rows, readable: np.ndarray, notes: dict[str, str]) -> list[str]:
        """Returns why each row lacks an input or has no answer (N,); '' where nothing is wrong."""
        from ..data.waveforms import Waveform
        from ..features.sources import column

        inputs = zip(column(table, "audio"), column(table, "text"), strict=True)
        given = [any(isinstance(x, (str, Waveform)) for x in both) for both in inputs]
        reads = self._reads()
        return [
            notes.get(str(i), "" if ok else NOTHING + (reads if has else ""))
            for i, ok, has in zip(table["id"], readable, given, strict=True)
        ]


def predict(
    run: str | Path,
    audio: Sequence[str] = (),
    texts: Sequence[str] = (),
    *,
    manifest: str | Path | None = None,
    arrays: Sequence[str] = (),
    output: str | Path | None = None,
    windows: float | None = None,
    hop: float | None = None,
    engine: EngineConfig | None = None,
) -> str:
    """Labels files, texts or a manifest and returns one line each, or where the table went.

    A folder among the files stands for all sounds beneath it.
    With `windows` seconds a file is labelled piece by piece, every `hop` seconds. A manifest may be
    worked on by an `engine` other than this process.
    """
    from .prediction_table import as_columns, delivered, numbered

    if output is not None:
        check_table(output)
    refuse_together(audio, texts, manifest, engine)
    predictor = load(run)
    store, rows, files = None, [], audio
    if windows is not None:
        if texts or manifest is not None or arrays:
            raise SemiError("--windows takes audio files alone, no --text, --manifest or --arrays")
        files = in_folders(audio)
        check_files(files)
        answers = predictor.predict_windows(files, seconds=windows, hop=hop, progress=True)
        return delivered([as_columns(answers)], output, "window")
    if hop is not None:
        raise SemiError("--hop goes with --windows: semi predict RUN a.wav --windows 5 --hop 2.5")
    given = parse_arrays(list(arrays))
    if manifest is None:
        files = in_folders(audio)
        table = utterances(files, texts)
        check_files(files)
        check_read(predictor, run, audio, texts)
    else:
        table, store, rows = manifest_table(predictor, manifest)
    parts = labelled_parts(
        predictor, table, store, given, engine=engine,
        progress=manifest is not None or list(files) != list(audio),
    )  # fmt: skip
    return delivered(numbered(parts, rows), output, "utterance")
