"""Text into vectors without weights: hashed character n-grams and words, for any script."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import torch

from .murmur import murmur3

CODE = 1  # raised whenever the numbers change


class CharNgramEncoder:
    """Counts of character n-grams and words, hashed into `width` signed dimensions.

    Text is NFKC-normalised and case-folded; n-grams do not cross word boundaries. Counts enter as
    1 + log(count), the row has length 1. Emphatic punctuation and emoji are characters as others.
    """

    modality = "text"

    def __init__(self, *, width: int = 512, longest: int = 4, prefix: str = "") -> None:
        if width < 1 or longest < 1:
            raise ValueError(f"width and longest must be 1 or more, got {width} and {longest}")
        self.width, self.longest, self.prefix = width, longest, prefix

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one text's result: (D,)."""
        return (self.width,)

    def identity(self) -> dict[str, Any]:
        """Returns everything that changes the numbers; see Encoder."""
        return {
            "encoder": "char-ngram",
            "code": CODE,
            "width": self.width,
            "longest": self.longest,
            "prefix": self.prefix,
            "unicode": unicodedata.unidata_version,
        }

    def encode(self, batch: list[str]) -> torch.Tensor:
        """Returns (B, D) float32 rows of length 1."""
        if not batch:
            return torch.zeros(0, self.width)
        weights = [self._weights(text) for text in batch]
        hashed = murmur3([gram.encode() for counts in weights for gram in counts]).astype(np.int64)
        value = np.array([value for counts in weights for value in counts.values()], np.float64)
        owner = np.repeat(np.arange(len(batch)), [len(counts) for counts in weights])
        place = owner * self.width + np.abs(hashed) % self.width
        signed = np.where(hashed < 0, -value, value)
        rows = np.bincount(place, signed, len(batch) * self.width).reshape(-1, self.width)
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        return torch.from_numpy((rows / np.maximum(norm, 1e-12)).astype(np.float32))

    def _weights(self, text: str) -> dict[str, float]:
        words = unicodedata.normalize("NFKC", self.prefix + text).casefold().split()
        counts: Counter[str] = Counter()
        for word in words:
            counts[f"w:{word}"] += 1
            edged = f" {word} "
            for n in range(1, self.longest + 1):
                counts.update(edged[i : i + n] for i in range(len(edged) - n + 1))
        counts.pop(" ", None)  # a count of words, which says nothing of them
        return {gram: 1.0 + math.log(count) for gram, count in counts.items()}
