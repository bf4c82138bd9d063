"""eGeMAPS by openSMILE, an optional extra: the yardstick that papers on emotion report."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .base import SAMPLE_RATE, EncoderUnavailable
from .config import SpeechConfig


class EgemapsEncoder:
    """Turns an utterance into the 88 functionals of eGeMAPSv02.

    Eyben 2016, https://doi.org/10.1109/TAFFC.2015.2457417. openSMILE's licence forbids commercial
    use without a contract, so it is never installed by default.
    """

    modality = "speech"

    def __init__(self, config: SpeechConfig | None = None) -> None:
        if config is not None and config.model != "egemaps":
            raise ValueError(f"EgemapsEncoder is the model 'egemaps', got {config.model!r}")
        try:
            import opensmile  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise EncoderUnavailable(
                "encoder 'egemaps' needs the package opensmile, which is not installed; run "
                "`pip install opensmile` (non-commercial licence), or use model 'acoustic', which "
                "needs nothing"
            ) from error
        self._version = opensmile.__version__
        self._smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )
        self.shape = (len(self._smile.feature_names),)

    def identity(self) -> dict:
        """Returns everything that changes the numbers."""
        return {"encoder": "egemaps", "feature_set": "eGeMAPSv02", "opensmile": self._version}

    def names(self) -> list[str]:
        """Returns openSMILE's names of the 88 columns, in order."""
        return list(self._smile.feature_names)

    def encode(self, batch: list[np.ndarray]) -> Tensor:
        """Returns (B, 88) float32 for a list of (samples,) sounds at 16 kHz.

        What openSMILE leaves undefined, such as the pitch of silence, is zero.
        """
        rows = torch.zeros(len(batch), *self.shape)
        for i, sound in enumerate(batch):
            samples = np.ascontiguousarray(sound, dtype=np.float32)
            # openSMILE fills sounds shorter than a few of its windows with NaN and warns.
            samples = np.pad(samples, (0, max(0, SAMPLE_RATE // 4 - len(samples))))
            rows[i] = torch.as_tensor(self._row(samples))
        return rows

    def _row(self, samples: np.ndarray) -> np.ndarray:
        values = self._smile.process_signal(samples, SAMPLE_RATE).to_numpy(np.float32)[0]
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
