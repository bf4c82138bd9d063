"""What a run shows in TensorBoard; plain numbers in, no knowledge of who computed them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_text
from . import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDS = "rounds"  # the TensorBoard run whose step is the round


class Tracker:
    """Writes below one folder: `rounds` (step = round), `round-00`, `round-01` ... (step = step).

    Number -1 is what comes before all rounds; its curves go to `pretraining`.

    So TensorBoard lays the loss curves of all rounds over each other. Beginning a round first
    removes what an interrupted attempt at it (or at a later one) wrote: no point appears twice.

    Expected usage:

        tracker = open_tracker(run.path / "tb")
        tracker.begin_round(0)
        tracker.step(25, {"loss/total": 1.2, "contrast/speech-text": 3.4, "lr": 2e-3})
        tracker.metrics({"oof/macro_f1": 0.61, "test/waf": 0.58})
        tracker.confusion("oof/confusion", matrix, classes)
        tracker.end_round()
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.number = 0
        self._steps: Any = None  # SummaryWriter of the round's own curves
        self._rounds: Any = None  # SummaryWriter of what there is one of per round
        self._bands: dict[str, dict[str, list]] = {}  # charts by the heading they stand under

    @property
    def open(self) -> bool:
        """True between begin_round and end_round."""
        return self._steps is not None

    def begin_round(self, number: int) -> None:
        """Opens round `number` afresh and forgets every later one."""
        from torch.utils.tensorboard import SummaryWriter

        self.end_round()
        self.number = number
        for stale in _stale(self.folder, number):
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        self._steps = SummaryWriter(str(self.folder / _name(number)))
        self._rounds = SummaryWriter(
            str(self.folder / ROUNDS), filename_suffix=f".{_name(number)}", max_queue=50
        )

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values of one training step: losses, each pair's loss, learning rate."""
        for tag, value in values.items():
            self._steps.add_scalar(tag, float(value), step)

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Adds the round's numbers; None is left out."""
        for tag, value in values.items():
            if value is not None:
                self._rounds.add_scalar(tag, float(value), self.number)

    def intervals(self, part: str, ends: Mapping[str, tuple[float, float]], words: str) -> None:
        """Adds the intervals of the round's scores, and in words what they are over.

        They are scalars of their own, `interval/<part>/<score>_low` and `_high`, and the band about
        `<part>/<score>` in the tab of custom scalars.
        """
        charts = {}
        for name, both in ends.items():
            if not all(map(math.isfinite, both)):
                continue
            tags = [f"interval/{part}/{name}_{end}" for end in ("low", "high")]
            self.metrics(dict(zip(tags, both, strict=True)))
            charts[f"{part}/{name}"] = ["Margin", [f"{part}/{name}", *tags]]
        if charts:
            self.text(f"interval/{part}", words)
            self._bands[f"{part}, 95 % intervals"] = charts

    def calibration(self, tag: str, confidence, accuracy, count, ece: float | None = None) -> None:
        """Adds the reliability diagram: per bin stated confidence, share that is right, rows."""
        self._figure(tag, figures.reliability(confidence, accuracy, count, ece))

    def confidences(self, tag: str, confidence: Sequence, chosen: Sequence | None = None) -> None:
        """Adds the histogram of confidences, and the picture with the chosen rows marked."""
        import numpy as np

        if len(confidence):
            self._rounds.add_histogram(tag, np.asarray(confidence, float), self.number)
            self._figure(f"{tag}/chosen", figures.histogram(confidence, chosen))

    def coverage(self, tag: str, coverage: Sequence, precision: Sequence) -> None:
        """Adds the share that is right (y) over the share kept, most confident first (x)."""
        self._figure(tag, figures.curve(coverage, precision, label="share that is right"))

    def confusion(self, tag: str, matrix: Sequence, classes: Sequence[str]) -> None:
        """Adds the confusion matrix (C, C), rows are gold, as an image."""
        self._figure(tag, figures.confusion(matrix, classes))

    def class_mix(self, tag: str, classes: Sequence[str], shares: Mapping[str, Sequence]) -> None:
        """Adds a bar chart of class shares, e.g. {"added": counts, "gold": counts}."""
        self._figure(tag, figures.class_mix(classes, shares))

    def audio(self, tag: str, samples: Any, sample_rate: int, caption: str = "") -> None:
        """Adds one clip, (samples,) in [-1, 1], with a line about it."""
        import torch

        wave = torch.as_tensor(samples, dtype=torch.float32).reshape(1, -1)
        self._rounds.add_audio(tag, wave, self.number, sample_rate)
        if caption:
            self._rounds.add_text(tag, caption, self.number)

    def text(self, tag: str, markdown: str) -> None:
        """Adds a text."""
        self._rounds.add_text(tag, markdown, self.number)

    def embeddings(self, name: str, matrix: Any, labels: Mapping[str, Any]) -> None:
        """Adds (N, D) points to the projector with the columns of `labels`, one value a row."""
        folder = self.folder / ROUNDS / "projector" / _name(self.number) / name
        points = matrix.tolist() if hasattr(matrix, "tolist") else list(matrix)
        write_text(folder / "tensors.tsv", _tsv([f"{x:.5g}" for x in row] for row in points))
        # one column alone has no header line: that is the projector's rule
        rows = [[_cell(v) for v in row] for row in zip(*labels.values(), strict=True)]
        head = [list(labels)] if len(labels) > 1 else []
        write_text(folder / "metadata.tsv", _tsv([*head, *rows]))
        self._list_embeddings()

    def hparams(self, settings: Mapping[str, Any], metrics: Mapping[str, float | None]) -> None:
        """Writes the run's settings and what came of them, for TensorBoard's table of runs."""
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(self.folder / "hparams", ignore_errors=True)
        plain = {k: v if type(v) in (int, float, str) else str(v) for k, v in settings.items()}
        scores = {k: float(v) for k, v in metrics.items() if v is not None}
        writer = SummaryWriter(str(self.folder))
        writer.add_hparams(plain, scores, run_name="hparams")
        writer.close()
        for stray in self.folder.glob("events.out.tfevents.*"):
            stray.unlink()  # the outer writer's own file is empty

    def end_round(self) -> None:
        """Writes everything of the round out."""
        if self._rounds is not None and self._bands:
            self._rounds.add_custom_scalars(self._bands)  # each part of the run at once
        self._bands = {}
        for writer in (self._steps, self._rounds):
            if writer is not None:
                writer.close()
        self._steps = self._rounds = None

    close = end_round

    def _figure(self, tag: str, figure: Figure) -> None:
        self._rounds.add_image(tag, figures.pixels(figure), self.number, dataformats="HWC")

    def _list_embeddings(self) -> None:
        """Writes the projector's table of contents anew from the folders that are there."""
        root, text = self.folder / ROUNDS, ""
        for tensors in sorted((root / "projector").glob("*/*/tensors.tsv")):
            home = tensors.parent.relative_to(root).as_posix()
            name = f"{tensors.parent.name} {tensors.parent.parent.name}"
            text += (
                f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "{home}/tensors.tsv"\n'
                f'  metadata_path: "{home}/metadata.tsv"\n}}\n'
            )
        write_text(root / "projector_config.pbtxt", text)


class NoTracker(Tracker):
    """Takes everything and writes nothing."""

    def __init__(self) -> None:
        super().__init__(".")

    def _nothing(self, *_: Any, **__: Any) -> None: ...

    begin_round = step = metrics = calibration = confidences = coverage = confusion = _nothing
    class_mix = audio = text = embeddings = hparams = end_round = close = intervals = _nothing


def open_tracker(folder: str | Path, *, enabled: bool = True) -> Tracker:
    """Returns a tracker that writes below `folder`, or one that does nothing."""
    return Tracker(folder) if enabled else NoTracker()


def _name(number: int) -> str:
    return f"round-{number:02d}" if number >= 0 else "pretraining"


def _stale(folder: Path, number: int) -> list[Path]:
    """Returns what belongs to round `number` or a later one."""
    named = [*folder.glob("round-*"), *(folder / ROUNDS / "projector").glob("round-*")]
    named += (folder / ROUNDS).glob("events.out.tfevents.*.round-*")
    stale = [p for p in named if int(p.name.rpartition("round-")[2]) >= number]
    return stale if number >= 0 else [*stale, *folder.glob(_name(number))]


def _cell(value: Any) -> str:
    """Returns a value as one cell of a TSV; an empty one would be lost with its row."""
    return " ".join(str(value).split()) or "-"


def _tsv(rows: Any) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)
