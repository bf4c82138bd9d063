"""Makes copies of feature files whose sound was recorded in babble, for benchmarks/contrast.py.

    python benchmarks/noisy_recordings.py MODEL_FOLDER MANIFEST.csv FEATURES.npz OUT.npz [--snr 5]

To each utterance of FEATURES the voices of six others by other speakers are added, so that speech
is `--snr` decibels above them (as long as the utterance lasts; all draws by one seed). The mean of
each encoder layer over its frames then takes the place of `speech` (N, L, D); everything else is
copied. --snr inf adds nothing: it shows that the copy's encoder is that of the original file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from joined_speech import read
from prune_fidelity import read_manifests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.encoders.backbone import Backbone
from models.encoders.padding import normalized
from models.encoders.pruning import Tokens
from models.encoders.speech_models import make_backbone, speech_model

VOICES = 6


def in_babble(
    waves: list[np.ndarray], speaker: np.ndarray, snr: float, seed: int = 0
) -> list[np.ndarray]:
    """Returns the utterances (S_i,), each with VOICES others beside it; never louder than 1."""
    random, found = np.random.default_rng(seed), []
    for wave, mine in zip(waves, speaker, strict=True):
        others = random.choice(np.flatnonzero(speaker != mine), VOICES, replace=False)
        babble = np.sum([np.resize(waves[i] / rms(waves[i]), len(wave)) for i in others], 0)
        noisy = wave + babble * (rms(wave) / rms(babble) * 10 ** (-snr / 20))
        found.append((noisy / max(1.0, np.abs(noisy).max())).astype(np.float32))
    return found


def rms(wave: np.ndarray) -> float:
    """Returns the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(wave)))) + 1e-9


def layers(backbone: Backbone, wave: np.ndarray) -> np.ndarray:
    """Returns the mean over frames (L, D) of the input of the first layer and of every layer."""
    row = backbone.prepare(torch.from_numpy(wave))[None]
    hidden, frames = backbone.embed(row, [row.shape[-1]])
    tokens = Tokens(frames, hidden.shape[1], hidden.device)
    found = [tokens.mean(hidden)[0]]
    for layer in backbone.layers:
        hidden = backbone.feed_forward(layer, backbone.attend(layer, hidden, None, None).hidden)
        found.append(tokens.mean(hidden)[0])
    return torch.stack(found).numpy()


def speech_of(folder: str | Path, waves: list[np.ndarray]) -> np.ndarray:
    """Returns the `layers` (N, L, D) that the encoder in a folder gives for every utterance."""
    model = speech_model(str(folder))
    backbone = make_backbone(model.load()).float().eval()
    with torch.inference_mode():
        return np.stack(
            [
                layers(backbone, normalized(w, model.epsilon) if model.normalize else w)
                for w in waves
            ]
        )


def main() -> None:
    """Writes the copy and prints how near its clean layers are to the noisy ones."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("features", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--snr", type=float, default=5.0, help="decibels")
    args = parser.parse_args()
    torch.set_num_threads(1)
    arrays = dict(np.load(args.features))
    table = read_manifests([args.manifest], 0).set_index("id")
    waves = [read(table.loc[i, "path"]) for i in arrays["id"]]
    old = arrays["speech"].astype(np.float32)
    found = speech_of(args.model, in_babble(waves, arrays["speaker"], args.snr))
    new = old.copy()
    new[:, : found.shape[1]] = found
    for k in range(found.shape[1]):
        a, b = (x[:, k] - old[:, k].mean(0) for x in (old, new))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        print(f"layer {k}: centred cosine {cosine.mean():.3f}")
    np.savez(args.output, **arrays | {"speech": new.astype(np.float16)})


if __name__ == "__main__":
    main()
