"""What a run shows in TensorBoard; plain numbers in, no knowledge of who computed them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_text
from .tracker import ROUNDS, Tracker, round_name

HPARAMS = "hparams"  # the TensorBoard run of settings and final scores


class TensorBoardTracker(Tracker):
    """Writes below one folder: `rounds` (step = round), `round-00`, `round-01` ... (step = step).

    Number -1 is what comes before all rounds; its curves go to `pretraining`.

    So TensorBoard lays the loss curves of all rounds over each other, and shows them as they grow.
    Whatever is written first of a round removes what an interrupted attempt at it (or at a later
    one) wrote: no point appears twice.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.number = 0
        self._writers: dict[str, Any] = {}  # folder -> SummaryWriter
        self._charts: dict[str, list] = {}  # title -> what stands in it
        self._settings: dict[str, Any] = {}

    def begin_round(self, number: int) -> None:
        """Closes what is open; the round's files are opened with its first thing to show."""
        self._close()
        self.number = number

    def scalars(self, step: int, values: Mapping[str, float], curve: str = ROUNDS) -> None:
        """Adds scalars to `rounds` or to the folder of a round's own curves."""
        writer = self._writer(curve)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, words: str) -> None:
        """Adds a text."""
        self._writer().add_text(name, words, step)

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds an image."""
        self._writer().add_image(name, pixels, step, dataformats="HWC")

    def audio(
        self, step: int, name: str, samples: np.ndarray, sample_rate: int, words: str
    ) -> None:
        """Adds a clip and the line about it."""
        import torch

        wave = torch.from_numpy(samples).reshape(1, -1)
        self._writer().add_audio(name, wave, step, sample_rate)
        if words:
            self.text(step, name, words)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Adds a histogram."""
        self._writer().add_histogram(name, values, step)

    def band(self, title: str, low: str, middle: str, high: str) -> None:
        """Adds a band to the tab of custom scalars."""
        self._charts[title] = ["Margin", [middle, low, high]]

    def points(self, step: int, name: str, vectors: np.ndarray, columns: Mapping[str, Any]) -> None:
        """Adds points to the projector; points that rounds have in common are one file."""
        self._writer()  # which removes what an interrupted attempt wrote
        root = self.folder / ROUNDS / "projector"
        content = hashlib.sha256(np.ascontiguousarray(vectors, np.float32).tobytes())
        file = f"{name}-{content.hexdigest()[:12]}.tsv"
        if not (root / file).is_file():
            write_text(root / file, _tsv([f"{x:.5g}" for x in row] for row in vectors.tolist()))
        # one column alone has no header line: that is the projector's rule
        rows = [[_cell(v) for v in row] for row in zip(*columns.values(), strict=True)]
        head = [list(columns)] if len(columns) > 1 else []
        write_text(root / round_name(step) / file, _tsv([*head, *rows]))
        self._list_points()

    def end_round(self) -> None:
        """Writes everything of the round out."""
        if self._charts:  # each part of the run at once
            parts: dict[str, dict[str, list]] = {}
            for title, chart in self._charts.items():
                parts.setdefault(f"{title.partition('/')[0]}, 95 % intervals", {})[title] = chart
            self._writer().add_custom_scalars(parts)
        self._charts = {}
        self._close()

    def settings(self, values: Mapping[str, Any]) -> None:
        """Keeps the settings for the table of runs, which has them beside the final scores."""
        self._settings = {
            k: v if type(v) in (int, float, str) else str(v) for k, v in values.items()
        }

    def final(self, step: int, values: Mapping[str, float]) -> None:
        """Writes settings and final scores, for TensorBoard's table of runs."""
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(self.folder / HPARAMS, ignore_errors=True)
        writer = SummaryWriter(str(self.folder))
        writer.add_hparams(self._settings, dict(values), run_name=HPARAMS, global_step=step)
        writer.close()
        for stray in self.folder.glob("events.out.tfevents.*"):
            stray.unlink()  # the outer writer's own file is empty

    def close(self, finished: bool) -> None:
        """Closes what is open."""
        self._close()

    def _writer(self, curve: str = ROUNDS) -> Any:
        """Returns the writer of a folder; on opening, what is stale there goes."""
        if curve not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            for stale in _stale(self.folder, curve, self.number):
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
            suffix = f".{round_name(self.number)}" if curve == ROUNDS else ""
            self._writers[curve] = SummaryWriter(
                str(self.folder / curve), filename_suffix=suffix, max_queue=50
            )
        return self._writers[curve]

    def _close(self) -> None:
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.close()

    def _list_points(self) -> None:
        """Writes the projector's table of contents anew from the folders that are there."""
        root, text = self.folder / ROUNDS, ""
        columns = sorted((root / "projector").glob("*/*.tsv"))
        for path in columns:
            name = f"{path.stem.rpartition('-')[0]} {path.parent.name}"
            text += (
                f'embeddings {{\n  tensor_name: "{name}"\n'
                f'  tensor_path: "projector/{path.name}"\n'
                f'  metadata_path: "projector/{path.parent.name}/{path.name}"\n}}\n'
            )
        for points in (root / "projector").glob("*.tsv"):
            if points.name not in {path.name for path in columns}:
                points.unlink()  # of an interrupted attempt
        write_text(root / "projector_config.pbtxt", text)


def _stale(folder: Path, curve: str, number: int) -> list[Path]:
    """Returns what round `number` or a later one has in `rounds`, or as curves of their own."""
    if curve == ROUNDS:
        named = [*(folder / ROUNDS / "projector").glob("round-*")]
        named += (folder / ROUNDS).glob("events.out.tfevents.*.round-*")
    else:
        named = [*folder.glob("round-*")]
    stale = [p for p in named if int(p.name.rpartition("round-")[2]) >= number]
    return stale if number >= 0 else [*stale, *folder.glob(curve)]


def _cell(value: Any) -> str:
    """Returns a value as one cell of a TSV; an empty one would be lost with its row."""
    return " ".join(str(value).split()) or "-"


def _tsv(rows: Any) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)
