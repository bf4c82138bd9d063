"""Speech into vectors with a pretrained encoder: normalise, cut, batch, run, pool each layer.

Letters: B batch, S samples, T frames, N tokens, D features, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from ..pooling import Moments, combine_layers, join_moments, masked_moments, moments_by_row, vector
from . import layout
from .backbone import Backbone, LayerState
from .base import SAMPLE_RATE
from .config import SpeechConfig, resolve_layers, stored_as
from .int8 import quantised
from .numerics import DTYPES, exact_float32, fold_weight_norm
from .padding import pad_rows, token_budget
from .pruning import TokenPruner, pruning_identity, supports_pruning
from .pruning_auto import auto_note
from .speech_models import SpeechModel, make_backbone, speech_model
from .staging import PaddedBatch, StagedBatch, arrived, on_its_way
from .transport import Piece, cut
from .wav2vec import Wav2VecBackbone

CODE = 1  # raised whenever this package's own arithmetic changes the numbers
T = TypeVar("T")


class SpeechEncoder:
    """A frozen speech encoder; results are float32 on the CPU, each row's its own."""

    modality = "speech"

    def __init__(
        self,
        model: SpeechModel,
        config: SpeechConfig,
        *,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        self.model = model
        self.config = config
        self.device = torch.device(device)
        self.precision = precision
        self.layers = resolve_layers(config.layers, model.depth, config.combine)
        self.pruner = None
        if config.pruning.active:
            possible, reason = supports_pruning(model.model_type)
            if not possible:
                raise ValueError(f"encoders.speech.pruning: {reason}")
            self.pruner = TokenPruner(config.pruning, max(self.layers))
        usual = "rows" if self.device.type == "cpu" else "padded"
        self.layout = usual if config.layout == "auto" else config.layout
        rows = self.layout in ("rows", "plain")
        self.budget = 0 if rows else int(config.batch_seconds * SAMPLE_RATE)

    @classmethod
    def from_config(
        cls, config: SpeechConfig, *, device: str = "cpu", precision: str = "fp32"
    ) -> SpeechEncoder:
        """Returns the encoder of a hub name, a local folder or a fairseq file."""
        return cls(
            speech_model(config.model, config.revision), config, device=device, precision=precision
        )

    def variant(self, config: SpeechConfig) -> SpeechEncoder:
        """Returns an encoder of the same weights, in memory once, with other settings."""
        device = str(self.device)
        other = SpeechEncoder(self.model, config, device=device, precision=self.precision)
        other.__dict__["backbone"] = self.backbone
        return other

    def exact(self) -> SpeechEncoder:
        """Returns the same encoder in float32."""
        return SpeechEncoder(self.model, self.config, device=str(self.device))

    @property
    def notes(self) -> list[str]:
        """What was taken for granted where the model's files say nothing, and what auto came to."""
        return [*self.model.notes, *auto_note(self.config.pruning)]

    @property
    def takes_pcm(self) -> bool:
        """True where sounds are better given as int16, if that is exact: they have a way to go."""
        return self.device.type != "cpu"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one utterance's result: (D,), or (L, D) for views."""
        width = self.model.width * (2 if self.config.pooling == "mean_std" else 1)
        if stored_as(self.config.combine) == "views":
            return (len(self.layers), width)
        return (width * len(self.layers) if self.config.combine == "concat" else width,)

    def identity(self) -> dict[str, Any]:
        """Returns everything that changes the numbers; see Encoder."""
        return {
            **self.model.identity,
            "code": CODE,
            "layers": self.layers,
            "combine": stored_as(self.config.combine),
            "pooling": self.config.pooling,
            "chunk_seconds": self.config.chunk_seconds,
            "normalize": self.model.epsilon if self.model.normalize else None,
            "pruning": pruning_identity(self.config.pruning, max(self.layers)),
            "precision": self.precision,
        }

    @cached_property
    def backbone(self) -> Backbone:
        """The network, read on first use: a full feature store never loads it."""
        backbone = fold_weight_norm(make_backbone(self.model.load()))
        if isinstance(backbone, Wav2VecBackbone):
            if self.device.type == "cpu":
                backbone.store_frames_first(self.layout != "plain")
            else:
                backbone.folds_norm = True
                if self.precision != "fp32":  # whose kernels want frames first; untried in float32
                    backbone.store_frames_first()
        backbone = backbone.to(self.device, DTYPES[self.precision]).eval()
        return quantised(backbone) if self.precision == "int8" else backbone

    def settle_layout(self, folder: Path, seconds: float) -> str:
        """Chooses the layout for `seconds` of sound to come, and says so in a line; '' = as usual.

        Where the setting says auto, on a CPU in float32, it is measured for much sound; what was
        measured on such a machine for such an encoder is remembered in `folder`.
        """
        auto = self.config.layout == "auto" and self.precision == "fp32"
        if not auto or self.device.type != "cpu":
            return ""
        size = f"{self.model.model_type}, {self.model.depth} x {self.model.width}"
        what = f"{size}, layers to {max(self.layers)}; {layout.machine()}"
        if known := layout.recall(folder, what):
            self._lay(known)
            return f"layout {known}, as measured before on this machine (encoders.speech.layout)"
        if seconds < layout.ENOUGH_SECONDS:
            return ""
        spent = layout.cheapest(lambda name, sounds: self._lay(name)._run_all(sounds))
        self._lay(layout.remember(folder, what, spent))
        costs = ", ".join(f"{name} {cpu:.2f}" for name, cpu in spent.items())
        return f"layout {self.layout}: CPU-seconds were {costs} (encoders.speech.layout)"

    def _lay(self, name: str) -> SpeechEncoder:
        """Goes on in another layout, on a CPU, and returns self."""
        self.layout = name
        self.budget = int(layout.BATCH_SECONDS * SAMPLE_RATE) if name == "packed" else 0
        if isinstance(self.backbone, Wav2VecBackbone):
            self.backbone.store_frames_first(name != "plain")
        return self

    def _run_all(self, batch: list[np.ndarray]) -> None:
        for _ in self._run(batch, lambda state: None):
            pass

    def encode(self, batch: list[np.ndarray]) -> torch.Tensor:
        """Returns (B, *shape) float32: frames pooled per layer, then layers combined.

        Sounds are float32 (S,) in [-1, 1], or int16 (S,), which is divided by 32768.
        """
        if self.config.pooling == "frames":
            raise ValueError("pooling is 'frames', which keeps every frame: call encode_frames")
        spread = self.config.pooling == "mean_std"

        def pool(state: LayerState) -> Moments:  # every layer with its own token sizes
            return masked_moments(state.hidden, state.tokens.weights(), variance=spread)

        parts: list[list[Moments]] = [[] for _ in batch]  # of each utterance, piece by piece
        for owners, layers in self._run(batch, pool):
            for owner, moments in zip(owners, moments_by_row(layers), strict=True):
                parts[owner].append(moments)
        if not parts:
            return torch.zeros(0, *self.shape)
        rows = [vector(join_moments(pieces), self.config.pooling) for pieces in parts]
        return combine_layers(torch.stack(rows), self.config.combine)

    def encode_frames(self, batch: list[np.ndarray]) -> list[torch.Tensor]:
        """Returns each utterance's frames, (T, D), or (T, L, D) for views.

        With pruning on, every frame has the state of the token it became part of.
        """

        def unmerge(state: LayerState) -> tuple[list[int], torch.Tensor]:
            return state.tokens.frames, state.tokens.expand(state.hidden).float()

        parts: list[list[torch.Tensor]] = [[] for _ in batch]
        for owners, layers in self._run(batch, unmerge):
            frames = torch.stack([hidden for _, hidden in layers], 2).cpu()  # (B, T, L, D)
            for row, owner in enumerate(owners):
                parts[owner].append(frames[row, : layers[0][0][row]])
        return [combine_layers(torch.cat(pieces), self.config.combine) for pieces in parts]

    def _run(
        self, batch: list[np.ndarray], use: Callable[[LayerState], T]
    ) -> Iterator[tuple[list[int], list[T]]]:
        """Yields for every padded batch the rows its pieces belong to and `use` of each layer."""
        plan = list(batch.padded) if isinstance(batch, StagedBatch) else self._plan(batch)
        while plan:
            now = plan.pop(0)
            try:
                layers = self._layers(now, use)
            except torch.OutOfMemoryError:
                half = len(now.pieces) // 2  # the card is smaller than batch_seconds assumes
                if not half:
                    raise
                plan[:0] = [
                    PaddedBatch(now.owners[:half], now.pieces[:half]),
                    PaddedBatch(now.owners[half:], now.pieces[half:]),
                ]
                self.budget = max(len(now.pieces[0].samples) * half, 1)
                continue
            yield now.owners, layers

    def _plan(self, batch: list[np.ndarray]) -> list[PaddedBatch]:
        """Returns the pieces of the sounds in padded batches, longest first."""
        longest = min(int(self.config.chunk_seconds * SAMPLE_RATE), self.backbone.longest)
        owners: list[int] = []
        pieces: list[Piece] = []
        epsilon = self.model.epsilon if self.model.normalize else None
        for owner, wave in enumerate(batch):
            parts = cut(_checked(wave, owner), longest, epsilon)
            owners.extend([owner] * len(parts))
            pieces.extend(parts)
        return [
            PaddedBatch([owners[i] for i in chosen], [pieces[i] for i in chosen])
            for chosen in token_budget([len(p.samples) for p in pieces], self.budget)
        ]

    def staged(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the batch, on CUDA with its sounds on their way there; for a thread ahead.

        Where that does not succeed it comes back as it is: the fault is met where it is encoded.
        """
        if self.device.type != "cuda":
            return batch
        try:
            plan = self._plan(batch)  # outside: what reads the weights is no copy of sounds
            with torch.cuda.stream(self.copies):
                return StagedBatch(batch, [on_its_way(padded, self.device) for padded in plan])
        except Exception:
            return batch

    @cached_property
    def copies(self) -> torch.cuda.Stream:
        """The stream on which the next batch is copied."""
        return torch.cuda.Stream(self.device)

    @torch.inference_mode()
    def _layers(self, batch: PaddedBatch, use: Callable[[LayerState], T]) -> list[T]:
        """Returns `use` of each layer asked for, applied as the layer is produced."""
        backbone = self.backbone
        rows = [
            backbone.prepare(F.pad(wave, (0, max(backbone.shortest - len(wave), 0))))
            for wave in arrived(batch, self.device)
        ]
        lengths = [row.shape[-1] for row in rows]
        padded = pad_rows(rows, backbone.multiple).to(DTYPES[self.precision])
        used: dict[int, T] = {}
        with exact_float32(self.device):
            states = backbone(
                padded, lengths, last=max(self.layers), pruner=self.pruner,
                packed=self.layout == "packed",
            )  # fmt: skip
            for layer, state in states:
                if layer in self.layers:
                    used[layer] = use(state)
        return [used[layer] for layer in self.layers]


def _checked(wave: np.ndarray, row: int) -> np.ndarray:
    """Returns the samples (S,), int16 or float32, or says why they cannot be used."""
    if not isinstance(wave, (np.ndarray, list, torch.Tensor)) and len(wave):
        return wave  # on a disk, checked as it came there
    wave = np.asarray(wave)
    if wave.dtype != np.int16:
        wave = wave.astype(np.float32, copy=False)
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"row {row}: expected samples of shape (S,), got {wave.shape}")
    if not np.isfinite(wave).all():
        raise ValueError(f"row {row}: the samples contain NaN or infinity")
    return wave
