"""How much sound a core decodes in an hour, and what it takes to store it, by format.

    python benchmarks/decoding.py [--files 200]

Recordings of the bundled speech, written anew as WAV, FLAC, Opus and MP3 and read as an extraction
reads them; one thread, CPU-seconds. Then SHA-256, by which a file is known. docs/scale.md reckons
with these.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from extract import processor

from semi.data.audio import Span, load_sound
from semi.data.corpora import bundled_emodb

RATE = 16_000
FORMATS = {"WAV": ("WAV", "PCM_16", "wav"), "FLAC": ("FLAC", "PCM_16", "flac"),
           "Opus": ("OGG", "OPUS", "opus"), "MP3": ("MP3", "MPEG_LAYER_III", "mp3")}  # fmt: skip
HASHED = 1 << 28  # bytes


def main() -> None:
    """Prints a line a format, and one of the hash."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=200, help="at most; default 200")
    count = parser.parse_args().files
    span = Span(None, None, 0.1, 120.0)
    table = pd.read_csv(bundled_emodb(), dtype=str)
    sounds = [load_sound(str(bundled_emodb().parent / a), span) for a in table["audio"][:count]]
    hours = sum(len(sound) for sound in sounds) / RATE / 3600
    print(f"{processor()}, one thread: {len(sounds)} recordings of {hours * 60:.1f} minutes in all")
    with tempfile.TemporaryDirectory() as folder:
        for name, (container, coding, ending) in FORMATS.items():
            paths = [Path(folder, f"{i}.{ending}") for i in range(len(sounds))]
            for path, sound in zip(paths, sounds, strict=True):
                soundfile.write(path, np.asarray(sound), RATE, format=container, subtype=coding)
            begun = time.process_time()
            for path in paths:
                load_sound(str(path), span)
            spent = max(time.process_time() - begun, 1e-6) / 3600
            size = sum(path.stat().st_size for path in paths)
            print(f"{name:5}{hours / spent:10,.0f} hours of sound a core-hour, "
                  f"{size / hours / 1e6:6.1f} MB an hour of it")  # fmt: skip
    content = os.urandom(HASHED)
    begun = time.process_time()
    hashlib.sha256(content)
    print(f"SHA-256 {HASHED / 1e9 / (time.process_time() - begun):.2f} GB/s a core")


if __name__ == "__main__":
    main()
