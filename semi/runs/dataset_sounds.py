"""The sounds of a run's utterances, as the column Audio of Hugging Face `datasets`.

https://huggingface.co/docs/datasets/about_dataset_features: a struct of bytes and path. A file goes
in as it is; of a part of a file (`start`, `end`) the part alone, as 16 kHz mono WAV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.audio import load_audio, seconds_or_none
from ..data.audio_decoders import SAMPLE_RATE
from ..data.formats.sound_cache import wav
from ..data.manifest import load_manifest
from ..errors import AudioError, RunError, reading
from ..self_training.run_dir import Run

if TYPE_CHECKING:
    import pyarrow as pa

AUDIO: dict[str, Any] = {"_type": "Audio"}  # the feature, as datasets writes it


@dataclass(frozen=True)
class UtteranceSounds:
    """Where the sound of each utterance is."""

    at: dict[str, tuple[str, float | None, float | None]]  # id -> path, start, end in seconds

    def column(self, ids: Sequence[str]) -> pa.Array:
        """Returns the sounds of R utterances, null where one has none or it cannot be decoded."""
        import pyarrow as pa

        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return pa.array([self._sound(name) for name in ids], kind)

    def _sound(self, name: str) -> dict[str, Any] | None:
        if name not in self.at:
            return None
        path, start, end = self.at[name]
        if start is None and end is None:
            with reading(path, "a sound file", "restore the file"):
                return {"bytes": Path(path).read_bytes(), "path": Path(path).name}
        try:
            wave = load_audio(path, start=start, end=end, min_seconds=0.0)
        except AudioError:  # it is in quarantine.csv, with the reason
            return None
        return {"bytes": wav(wave, SAMPLE_RATE), "path": f"{name.replace('/', '_')}.wav"}


def sounds_of(run: str | Path, places: Sequence[str] = ()) -> UtteranceSounds:
    """Returns the sounds of a run's table; RunError or ManifestError where they are not at hand.

    `places` says where they are now, if they have moved: data.manifest=..., data.audio_root=...
    """
    opened = Run.open(run, places)
    opened.need_manifest()
    manifest = load_manifest(opened.config.data.manifest, opened.config.data)
    opened.bind_manifest(manifest.sha256)
    table = manifest.table
    spans = zip(table["id"], table["audio"], table["start"], table["end"], strict=True)
    at = {
        str(name): (str(path), seconds_or_none(start), seconds_or_none(end))
        for name, path, start, end in spans if isinstance(path, str)
    }  # fmt: skip
    if not at:
        raise RunError(f"{run} has no sounds: no row of its table names a file; leave --sounds out")
    return UtteranceSounds(at)
