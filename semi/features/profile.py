"""How one modality is scaled: what a standardizer has learned of it.

Letters: D numbers of a vector, S speakers, P principal components.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Profile:
    """Mean and deviation of one modality, over all rows and for each known speaker."""

    mean: Tensor  # (D,) float32
    std: Tensor  # (D,) float32
    speaker_mean: Tensor  # (S, D) float32, shrunk; S = 0 unless per speaker
    speaker_std: Tensor  # (S, D) float32
    components: Tensor | None = None  # (D, P) float32 principal axes
    scale: float = 1.0  # one factor for all components: their mean variance is 1 afterwards

    @property
    def width(self) -> int:
        """Numbers a row after scaling; ValueError where the parts do not go together."""
        dims, speakers = self.mean.shape, self.speaker_mean.shape[:1]
        for part in (self.std, *self.speaker_mean, *self.speaker_std):
            if part.shape != dims or len(dims) != 1:
                raise ValueError("means and deviations are not of one width")
        if self.speaker_std.shape[:1] != speakers or self.speaker_mean.dim() != 2:
            raise ValueError("means and deviations are not of the same speakers")
        if self.components is None:
            return len(self.mean)
        if self.components.dim() != 2 or self.components.shape[:1] != dims:
            raise ValueError("the principal axes are not of the width of the means")
        return self.components.shape[1]
