"""How far speech stands out of its own background, told from the sound alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from .audio import load_audio
from .audio_decoders import SAMPLE_RATE

FRAME_SECONDS = 0.02
QUIET_PERCENTILE, LOUD_PERCENTILE = 15, 95  # of the frames' power: background, speech above it
SILENT_POWER = 1e-10  # power that counts as silence, -100 dB below full scale


def snr_of(samples: Any) -> float:
    """Returns the signal-to-noise ratio in dB of (S,) samples at 16 kHz in [-1, 1].

    It is NIST's quick estimate: of frames of 20 ms, the power of the 95th percentile without that
    of the 15th, over that of the 15th (https://www.nist.gov/itl/iad/mig/tools, `stnr -q`). Speech
    without a pause reads as noisier than it is, so it ranks recordings; it calibrates none.
    """
    length = round(FRAME_SECONDS * SAMPLE_RATE)
    sound = np.asarray(samples, dtype=np.float64)
    frames = sound[: max(1, len(sound) // length) * length]
    power = np.array([np.mean(frames[i : i + length] ** 2) for i in range(0, len(frames), length)])
    quiet, loud = np.percentile(power, [QUIET_PERCENTILE, LOUD_PERCENTILE])
    quiet = max(float(quiet), SILENT_POWER)
    return float(10 * np.log10(max(float(loud) - quiet, SILENT_POWER) / quiet))


def measure(path: str, start: float | None, end: float | None) -> dict[str, float]:
    """Returns the `duration` in seconds and the `snr` in dB of a file, or of its start..end.

    Raises AudioError where it cannot be read.
    """
    samples = load_audio(path, start=start, end=end, min_seconds=0.0, max_seconds=float("inf"))
    return {"duration": len(samples) / SAMPLE_RATE, "snr": snr_of(samples)}
