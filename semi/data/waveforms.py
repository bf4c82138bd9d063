"""Sounds that are in memory: an array and its rate, Hugging Face's dicts, bytes, file objects."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import AudioError

FULL_SCALE = {"int8": 2.0**7, "uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}
RATES = ("sampling_rate", "sample_rate", "sr")  # datasets and transformers, torchaudio, librosa
ARRAYS = ("array", "raw", "waveform", "samples")
CHANNELS = 64  # an array with more of them on its shorter side is no sound
BLOCK_SAMPLES = 1 << 20
HOW = "give a path, (array, rate), {'array': ..., 'sampling_rate': ...}, bytes or a file object"


@dataclass(frozen=True, eq=False)
class Waveform:
    """A sound in memory."""

    name: str  # what messages and answers call it
    content: bytes | np.ndarray  # of a sound file, or samples (frames, channels) of any width
    rate: int = 0  # Hz, of an array

    @property
    def seconds(self) -> float:
        """About how long it is."""
        if isinstance(self.content, bytes):
            return len(self.content) / 32_000
        return len(self.content) / self.rate

    def __str__(self) -> str:
        return self.name

    def key(self) -> str:
        """Returns the SHA-256 of the content: bytes have the key of the file that holds them."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        about = f"{self.content.dtype.str} {self.content.shape} {self.rate}"
        digest = hashlib.sha256(about.encode())
        digest.update(np.ascontiguousarray(self.content).data)
        return digest.hexdigest()


class ArrayReader:
    """Reads an array as a file is read: in blocks (n, channels) float32."""

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self.samples, self.rate = samples, rate
        self.frames: int | None = len(samples)

    def blocks(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Yields the frames first ... last - 1, integers divided by their full scale."""
        end = len(self.samples) if last is None else last
        size = max(1, BLOCK_SAMPLES // self.samples.shape[1])
        full = FULL_SCALE.get(self.samples.dtype.name)
        for start in range(first, end, size):
            block = self.samples[start : min(end, start + size)]
            if full is not None:
                middle = full if block.dtype == np.uint8 else 0.0
                block = (block.astype(np.float64) - middle) / full
            yield block.astype(np.float32)

    def close(self) -> None:
        """Does nothing: the array is the caller's."""


def is_one_sound(given: Any) -> bool:
    """Says whether something is a single sound rather than a list of them."""
    if isinstance(given, (str, os.PathLike, bytes, bytearray, dict, Waveform)):
        return True
    if hasattr(given, "read") or hasattr(given, "get_all_samples"):
        return True
    if isinstance(given, tuple) and len(given) == 2:
        return _is_rate(given[0]) != _is_rate(given[1])
    return _is_array(given) and np.asarray(given).dtype.kind in "iufcb"


def as_sounds(given: Sequence[Any]) -> list[str | Waveform | None]:
    """Returns each of (N,) sounds as a path or as a Waveform; None, NaN and '' are missing.

    Taken are paths, (array, rate), dicts with `array` and `sampling_rate` or with `bytes` and
    `path`, bytes, file objects and torchcodec's decoders. Arrays are (frames,), (frames, channels)
    or (channels, frames), of floats or integers: the shorter side is taken as the channels.
    AudioError names the place of the first that is none of these.
    """
    sounds = []
    for place, item in enumerate(given, 1):
        try:
            sounds.append(_as_sound(item, f"sound {place}"))
        except AudioError as error:
            raise AudioError(f"sound {place} of {len(given)}: {error}") from None
    return sounds


def _as_sound(item: Any, name: str) -> str | Waveform | None:
    if item is None or (_is_number(item) and item != item):
        return None
    if isinstance(item, (str, Waveform)):
        return item or None
    if isinstance(item, os.PathLike):
        return os.fspath(item)
    if isinstance(item, (bytes, bytearray)):
        return Waveform(name, bytes(item))
    if isinstance(item, dict):
        return _of_dict(item, name)
    if hasattr(item, "get_all_samples"):  # torchcodec, which `datasets` hands out
        decoded = item.get_all_samples()
        return _of_array(decoded.data, decoded.sample_rate, name)
    if hasattr(item, "read"):
        data = item.read()
        if not isinstance(data, bytes):
            raise AudioError("the file object gives text; open it in binary mode ('rb')")
        known = getattr(item, "name", None)
        return Waveform(known if isinstance(known, str) else name, data)
    if isinstance(item, tuple) and len(item) == 2:
        array, rate = item if not _is_rate(item[0]) else (item[1], item[0])
        return _of_array(array, rate, name)
    if _is_array(item):
        raise AudioError(f"an array without its rate; {HOW}")
    raise AudioError(f"a {type(item).__name__} is no sound; {HOW}")


def _of_dict(item: dict, name: str) -> str | Waveform | None:
    path = item.get("path")
    name = path if isinstance(path, str) and path else name
    array = next((item[key] for key in ARRAYS if item.get(key) is not None), None)
    if array is not None:
        rate = next((item[key] for key in RATES if item.get(key) is not None), None)
        return _of_array(array, rate, name)
    if isinstance(item.get("bytes"), (bytes, bytearray)):
        return Waveform(name, bytes(item["bytes"]))
    if isinstance(path, str) and path:
        return path
    found = ", ".join(map(str, item)) or "nothing"
    raise AudioError(
        f"a dict of {found[:100]} lacks 'array' with 'sampling_rate', 'bytes' and 'path'"
    )


def _of_array(array: Any, rate: Any, name: str) -> Waveform:
    if not _is_rate(rate) or int(rate) != rate or not 1000 <= rate <= 1_000_000:
        raise AudioError(f"the rate must be a number of samples a second, got {str(rate)[:50]!r}")
    if hasattr(array, "detach"):  # torch
        array = array.detach().cpu()
        array = array.float() if array.is_floating_point() else array  # NumPy knows no bfloat16
    try:
        samples = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise AudioError(f"the samples are no array of numbers ({error})") from None
    if samples.dtype.kind != "f" and samples.dtype.name not in FULL_SCALE:
        known = ", ".join(FULL_SCALE)
        raise AudioError(f"samples of {samples.dtype} have no full scale; give floats, {known}")
    samples = samples[:, None] if samples.ndim == 1 else samples
    if samples.ndim == 3 and samples.shape[0] == 1:  # a batch of one
        samples = samples[0]
    if samples.ndim != 2:
        raise AudioError(
            f"the samples have shape {samples.shape}; give (frames,), (frames, channels) or "
            "(channels, frames)"
        )
    if samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.shape[1] > CHANNELS:
        raise AudioError(
            f"the samples have shape {np.shape(array)}: neither side can be channels, of which at "
            f"most {CHANNELS} are read"
        )
    return Waveform(name, samples, int(rate))


def _is_rate(value: Any) -> bool:
    return _is_number(value) and value == value


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float, np.integer, np.floating))
    return number and not isinstance(value, bool)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")
