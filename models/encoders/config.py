"""The settings of the encoders; each is read by the build function of the same name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .pruning import PruningConfig

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
COMBINE = ("mean", "sum", "concat", "views", "joined")
POOLING = ("mean", "mean_std", "frames")
TEXT_POOLING = ("mean", "mean_std", "cls", "frames")
LADDER = 12  # layers kept where all are asked for
LAYOUTS = ("auto", "rows", "plain", "padded", "packed")


@dataclass
class SpeechConfig:
    """How speech becomes vectors."""

    model: str = "acoustic"
    """acoustic | egemaps | hub name | local folder | checkpoint file | precomputed | none."""
    revision: str = ""
    """Branch, tag or commit of a hub model; '' = its main branch."""
    layers: list[int] | None = None
    """Layers used: 0 = input of the first layer, L = last hidden state, -1 = L; [] = the last.

    null (or auto): those that gold out-of-fold knows most with, where recipe is auto; else the last
    (of combine=views all, of joined the middle half; of more than 12 every second or third).
    """
    combine: str = "mean"
    """Several layers into one: mean | sum | concat | views (each its own modality) | joined.

    joined lays them side by side for linear models to see under one covariance; for others it is
    concat.
    """
    pooling: str = "mean"
    """Frames into one vector: mean | mean_std | frames (kept, for sequence models)."""
    path: str = ""
    """For precomputed: folder of <id>.npy files, or one .npz file with `id` and an array."""
    column: str = ""
    """For precomputed: manifest column with one file path per utterance."""
    chunk_seconds: float = 20.0
    """Longer audio is cut at quiet points into pieces no longer than this, averaged by frames."""
    batch_seconds: float = 600.0
    """Audio seconds per padded batch, padding included; changes speed and memory, not results."""
    layout: str = "auto"
    """auto | rows | plain | padded | packed; the same numbers, to rounding, at another speed.

    auto is padded on a GPU and rows, one sound at a time, on a CPU. For half an hour of sound or
    more, in fp32, it is measured which of rows, plain (rows, the convolutions stored as in PyTorch)
    and packed (nothing is computed on padding; on a GPU with torch >= 2.10) costs the processor
    least; that takes seconds and is remembered in the feature store.
    """
    reverse: bool = False
    """Play every wave backwards first: another view of it, for an ensemble."""
    pruning: PruningConfig = field(default_factory=PruningConfig)
    """Token pruning inside the encoder."""

    def __post_init__(self) -> None:
        _check_choice("combine", self.combine, COMBINE)
        _check_choice("pooling", self.pooling, POOLING)
        _check_choice("layout", self.layout, LAYOUTS)
        if self.reverse and self.model == "precomputed":
            raise ValueError("reverse needs waves, but model is precomputed: set reverse=false")
        if not 1.0 <= self.chunk_seconds <= 30.0:
            raise ValueError(f"chunk_seconds must be in [1, 30], got {self.chunk_seconds}")
        if self.batch_seconds <= 0:
            raise ValueError(f"batch_seconds must be above 0, got {self.batch_seconds}")


@dataclass
class TextConfig:
    """How text becomes vectors."""

    model: str = "char-ngram"
    """char-ngram | hub name | local folder | precomputed | none."""
    revision: str = ""
    """Branch, tag or commit of a hub model; '' = its main branch."""
    layers: list[int] = field(default_factory=list)
    """Layers used: 0 = embeddings, L = last hidden state, -1 = L; [] = the last."""
    combine: str = "mean"
    """Several layers into one: mean | sum | concat | views (each its own modality) | joined."""
    pooling: str = "mean"
    """Tokens into one vector: mean | mean_std | cls (the first) | frames (kept, for sequences)."""
    max_tokens: int = 256
    """Longer texts are cut after this many tokens, special tokens included."""
    prefix: str = ""
    """Put before every text; E5 models want 'query: '."""
    path: str = ""
    """For precomputed: folder of <id>.npy files, or one .npz file with `id` and an array."""
    column: str = ""
    """For precomputed: manifest column with one file path per utterance."""

    def __post_init__(self) -> None:
        _check_choice("combine", self.combine, COMBINE)
        _check_choice("pooling", self.pooling, TEXT_POOLING)
        if self.pooling == "cls" and self.model in ("char-ngram", "precomputed"):
            raise ValueError(
                f"pooling=cls is of models with a [CLS] token, but model is {self.model}"
            )
        if self.max_tokens < 3:
            raise ValueError(f"max_tokens must be 3 or more, got {self.max_tokens}")


@dataclass
class ArrayConfig:
    """A further modality given as arrays, for example `encoders.extra.video.column=video`."""

    path: str = ""
    """Folder of <id>.npy files, or one .npz file with `id` and an array."""
    column: str = ""
    """Manifest column with one file path per utterance."""
    pooling: str = "mean"
    """Frames into one vector: mean | mean_std | frames (kept, for sequence models)."""

    def __post_init__(self) -> None:
        _check_choice("pooling", self.pooling, POOLING)


def _check_choice(field_name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{field_name} must be one of {', '.join(known)}, got {value!r}")


def precision_problem(precision: str, device: str) -> str:
    """Returns why encoders cannot compute in a precision on a device; '' where they can."""
    if precision not in PRECISIONS:
        return f"precision must be one of {', '.join(PRECISIONS)}, got '{precision}'"
    if precision == "int8" and device != "cpu":
        return f"precision=int8 is of CPUs, but device is {device}; set precision=bf16"
    return ""


def stored_as(combine: str) -> str:
    """Returns how layers are kept in a store: joined ones apart, like views."""
    return "views" if combine == "joined" else combine


def resolve_layers(asked: list[int] | None, depth: int, combine: str = "mean") -> list[int]:
    """Returns the layers as 0 ... depth: [] means the last, negatives count from it.

    None means the last, too; of `combine` views all layers, LADDER at most and evenly spaced, and
    of joined the middle half of them.
    """
    if asked is None and combine in ("views", "joined"):
        every = list(range(depth, 0, -math.ceil(depth / LADDER)))[::-1]
        start = len(every) // 4
        half = every[start : start + max(1, len(every) // 2)]
        return half if combine == "joined" else every
    asked = asked or []
    layers = [depth + 1 + k if k < 0 else k for k in asked] or [depth]
    for given, layer in zip(asked, layers, strict=False):
        if not 0 <= layer <= depth:
            raise ValueError(
                f"layers must be in 0 ... {depth} (or -{depth + 1} ... -1) for this model, "
                f"got {given}"
            )
    if len(set(layers)) < len(layers):
        raise ValueError(f"layers must be different from each other, got {asked}")
    return layers
