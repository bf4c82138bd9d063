"""Does re-encoding Emo-DB as Ogg Opus cost accuracy? Compares both copies, speakers held out.

usage: python benchmarks/opus_fidelity.py ORIGINALS [--encoder WHISPER_FOLDER] [--write]

ORIGINALS holds the corpus as wav or flac; the bundled copy in examples/emodb is measured against
it. Logistic regression, one speaker held out at a time, on simple statistics of the log-mel
spectrogram and, with --encoder, on the mean over valid frames of one layer of a Whisper encoder.
The interval of the difference is a 95 % bootstrap over speakers. --write makes the copy anew first.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semi.data.audio import load_audio
from semi.data.audio_decoders import SAMPLE_RATE
from semi.data.corpora import bundled_emodb, corpus_manifest
from semi.data.manifest import load_manifest, write_manifest

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "emodb"
COMPRESSION = 0.85  # of libsndfile, 0..1: about 46 kbit/s for 16 kHz mono


def write_bundle(originals: Path) -> None:
    """Writes every utterance of `originals` as Opus into the example, and its manifest."""
    import soundfile

    (EXAMPLE / "audio").mkdir(parents=True, exist_ok=True)
    table, _ = corpus_manifest("emodb", originals)
    paths = []
    for name, source in zip(table["id"], table["audio"], strict=True):
        paths.append(str(EXAMPLE / "audio" / f"{name}.opus"))
        soundfile.write(
            paths[-1],
            load_audio(source),
            SAMPLE_RATE,
            format="OGG",
            subtype="OPUS",
            compression_level=COMPRESSION,
        )
    table["audio"] = paths
    write_manifest(table, EXAMPLE / "manifest.csv")


def log_mel(samples: np.ndarray, bands: int = 40) -> np.ndarray:
    """Returns the log-mel spectrogram (T, bands): 25 ms windows every 10 ms."""
    size, step = 400, 160
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::step] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2  # (T, 257)
    mel = 2595 * np.log10(1 + np.array([60.0, 7600.0]) / 700)
    edges = 700 * (10 ** (np.linspace(*mel, bands + 2) / 2595) - 1)
    hz = np.linspace(0, SAMPLE_RATE / 2, power.shape[1])
    rise = (hz[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hz[None]) / (edges[2:] - edges[1:-1])[:, None]
    return np.log(power @ np.clip(np.minimum(rise, fall), 0, None).T + 1e-8)


def statistics(samples: np.ndarray) -> np.ndarray:
    """Returns mean, spread and mean absolute step of every mel band and cepstral coefficient."""
    from scipy.fft import dct

    mel = log_mel(samples)
    frames = np.concatenate([mel, dct(mel, norm="ortho")[:, :13]], axis=1)
    return np.concatenate([frames.mean(0), frames.std(0), np.abs(np.diff(frames, axis=0)).mean(0)])


def whisper_layer(folder: str, layer: int):
    """Returns a function: samples -> mean over the valid frames of `layer` of the encoder (D,)."""
    import torch
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    encoder = WhisperEncoder.from_pretrained(folder, dtype=torch.float32).eval()
    encoder.layers = encoder.layers[:layer]  # the later layers are not needed
    extractor = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)

    @torch.no_grad()
    def embed(samples: np.ndarray) -> np.ndarray:
        mel = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        frames = -(-len(samples) // 320)  # 20 ms each
        hidden = torch.nn.functional.gelu(encoder.conv1(mel[..., : 2 * frames]))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)  # (1, T, D)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for block in encoder.layers:
            out = block(hidden, None)
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden[0].mean(0).numpy()

    return embed


def guesses(train_x: np.ndarray, test_x: np.ndarray, label, speaker) -> np.ndarray:
    """Returns the guess for every row by a model of the other speakers (N,)."""
    from sklearn.linear_model import LogisticRegression

    train_x, test_x = _by_speaker(train_x, speaker), _by_speaker(test_x, speaker)
    guess = np.empty_like(label)
    for name in np.unique(speaker):
        out = speaker == name
        model = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
        guess[out] = model.fit(train_x[~out], label[~out]).predict(test_x[out])
    return guess


def macro_f1(label: np.ndarray, guess: np.ndarray) -> float:
    """Returns macro-F1 in percent over all rows together."""
    from sklearn.metrics import f1_score

    return 100 * f1_score(label, guess, average="macro")


def interval(label, first, second, speaker, draws: int = 1000) -> tuple[float, float]:
    """Returns the 95 % interval of macro-F1(second) - macro-F1(first) over drawn speakers."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(speaker == name) for name in np.unique(speaker)]
    found = []
    for _ in range(draws):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        found.append(macro_f1(label[drawn], second[drawn]) - macro_f1(label[drawn], first[drawn]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _by_speaker(x: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    x = x.copy()
    for name in np.unique(speaker):
        rows = speaker == name
        x[rows] = (x[rows] - x[rows].mean(0)) / (x[rows].std(0) + 1e-6)
    return x


def main() -> None:
    """Prints the size of both copies and a row of figures for each kind of feature."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("originals", type=Path)
    parser.add_argument("--encoder", help="folder of a Whisper encoder")
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="encode the bundled copy anew")
    args = parser.parse_args()
    if args.write:
        write_bundle(args.originals)
    table, _ = corpus_manifest("emodb", args.originals)
    opus = load_manifest(bundled_emodb()).table.set_index("id").loc[table["id"]]
    kinds = {"originals": table["audio"].tolist(), "opus": opus["audio"].tolist()}
    audio = {kind: [load_audio(path) for path in paths] for kind, paths in kinds.items()}
    for kind, paths in kinds.items():
        size = sum(os.path.getsize(path) for path in paths)
        seconds = sum(map(len, audio[kind])) / SAMPLE_RATE
        print(
            f"{kind:10} {len(paths)} files {size / 1e6:5.2f} MB, {seconds / 60:.1f} min, "
            f"{8 * size / seconds / 1000:.1f} kbit/s"
        )
    features = {"log-mel statistics": statistics}
    if args.encoder:
        features[f"Whisper layer {args.layer}"] = whisper_layer(args.encoder, args.layer)
    label, speaker = table["label"].to_numpy(dtype=str), table["speaker"].to_numpy(dtype=str)
    print("\nmacro-F1             originals   opus   difference (95 % interval)   mixed")
    for name, function in features.items():
        x = {kind: np.stack([function(a) for a in audio[kind]]) for kind in audio}
        before = guesses(x["originals"], x["originals"], label, speaker)
        after = guesses(x["opus"], x["opus"], label, speaker)
        mixed = guesses(x["originals"], x["opus"], label, speaker)
        scores = [macro_f1(label, guess) for guess in (before, after, mixed)]
        low, high = interval(label, before, after, speaker)
        print(
            f"{name:20} {scores[0]:9.1f} {scores[1]:6.1f} {scores[1] - scores[0]:+12.1f} "
            f"({low:+.1f} .. {high:+.1f}) {scores[2]:13.1f}",
            flush=True,
        )
    print("mixed: trained on the originals, tested on opus")


if __name__ == "__main__":
    main()
