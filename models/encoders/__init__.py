"""Encoders: utterances in, one vector each out. Heavy libraries load when one is built."""

from __future__ import annotations

from dataclasses import replace

from .base import ArrayBatch, ArrayProblem, Encoder, EncoderUnavailable
from .config import ArrayConfig, SpeechConfig, TextConfig, precision_problem
from .pruning import PruningConfig

__all__ = [
    "ArrayBatch",
    "ArrayConfig",
    "ArrayProblem",
    "Encoder",
    "EncoderUnavailable",
    "PruningConfig",
    "SpeechConfig",
    "TextConfig",
    "build_array_encoder",
    "build_speech_encoder",
    "build_text_encoder",
]


def build_speech_encoder(
    config: SpeechConfig, *, device: str = "cpu", precision: str = "fp32", root: str = ""
) -> Encoder | None:
    """Returns the speech encoder that `config.model` names, or None for `none`.

    `root` is the folder that relative paths of precomputed arrays start from.
    """
    _check_precision(precision, device)
    if config.model == "none":
        return None
    if config.reverse:
        from .reversed import ReversedSpeech

        plain = replace(config, reverse=False)
        inner = build_speech_encoder(plain, device=device, precision=precision, root=root)
        return ReversedSpeech(inner)
    if config.model == "acoustic":
        from .acoustic import AcousticEncoder

        return AcousticEncoder(config)
    if config.model == "egemaps":
        from .egemaps import EgemapsEncoder

        return EgemapsEncoder(config)
    if config.model == "precomputed":
        from .precomputed import PrecomputedEncoder

        return PrecomputedEncoder.from_config(config, modality="speech", root=root)
    from .speech import SpeechEncoder

    return SpeechEncoder.from_config(config, device=device, precision=precision)


def build_text_encoder(
    config: TextConfig, *, device: str = "cpu", precision: str = "fp32", root: str = ""
) -> Encoder | None:
    """Returns the text encoder that `config.model` names, or None for `none`."""
    _check_precision(precision, device)
    if config.model == "none":
        return None
    if config.model == "char-ngram":
        from .char_ngram import CharNgramEncoder

        return CharNgramEncoder(prefix=config.prefix)
    if config.model == "precomputed":
        from .precomputed import PrecomputedEncoder

        return PrecomputedEncoder.from_config(config, modality="text", root=root)
    from .text import TextEncoder

    return TextEncoder.from_config(config, device=device, precision=precision)


def build_array_encoder(config: ArrayConfig, *, modality: str, root: str = "") -> Encoder:
    """Returns the reader of a further modality's precomputed arrays."""
    from .precomputed import PrecomputedEncoder

    return PrecomputedEncoder.from_config(config, modality=modality, root=root)


def _check_precision(precision: str, device: str) -> None:
    if problem := precision_problem(precision, device):
        raise ValueError(problem)
