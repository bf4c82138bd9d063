"""How fast are utterance vectors made? The usual way and ours, side by side on the same weights.

    python benchmarks/extract.py MODEL [SOUND.wav ... | MANIFEST.csv] [--count 12] [--threads 1]

MODEL is a Hugging Face folder, or random-base / random-large: a HuBERT of the true size with random
weights (its speed is real, its vectors mean nothing). Without sounds, noise of --seconds is used.
Sounds are decoded beforehand. Every round runs all ways in turn, in an order that turns too; the
figure is the median over the rounds. Ways:

  a  one file at a time, all hidden states stacked, the last four summed, mean over frames, fp32:
     what the challenge baselines do
  b  plain transformers, padded batches of 8, else as a
  c  ours, fp32: the same four layers, exact
  d  ours, bf16
  e  d with merge pruning, keep rate 0.7 and 0.5
  f  d stopped early (after --stop layers), alone and with keep rate 0.5

On a GPU also: d and e with the packed layout, sounds given as int16 as extraction gives them, sound
per second, and the share of the measured bf16 matmul rate.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.encoders import PruningConfig, SpeechConfig
from models.encoders.cost import operations
from models.encoders.padding import normalized
from models.encoders.speech import SpeechEncoder
from models.encoders.speech_models import describe, speech_model
from models.encoders.transport import as_pcm

LAST = 4  # layers that are summed
BATCH = 8  # files of a plain padded batch


@dataclass
class Way:
    """One way to make the vectors."""

    name: str
    run: Callable[[], torch.Tensor]  # -> (N, D)
    encoder: SpeechEncoder | None = None
    cpu: list[float] = field(default_factory=list)  # CPU seconds of each round
    wall: list[float] = field(default_factory=list)
    vectors: torch.Tensor | None = None


def random_hubert(size: str):
    """Returns a HuBERT of the true size with random weights."""
    from transformers import HubertConfig, HubertModel

    large = {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
        "conv_bias": True,
    }  # fmt: skip
    torch.manual_seed(0)
    return HubertModel(HubertConfig(**(large if size == "random-large" else {}))).eval()


def plain(model: Any, about: Any, waves: list[np.ndarray], batch: int, device: str) -> torch.Tensor:
    """Returns (N, D) as transformers is commonly used, `batch` files at a time."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    whisper = model.config.model_type == "whisper"
    if whisper:
        extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    else:
        extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=batch > 1)
    rows = []
    for first in range(0, len(waves), batch):
        part = waves[first : first + batch]
        if about.normalize:  # as the extractor would, but with the model's own epsilon
            part = [normalized(wave, about.epsilon) for wave in part]
        padding = {"padding": True} if batch > 1 and not whisper else {}
        inputs = extractor(part, sampling_rate=16_000, return_tensors="pt", **padding).to(device)
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True)
        # HuBERT-large's last of them lacks the final LayerNorm; the same numbers as ours are wanted
        states = (*out.hidden_states[1:-1], out.last_hidden_state)
        summed = torch.stack(states)[-LAST:].sum(0)  # (B, T, D)
        if "attention_mask" in inputs:
            frames = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(1))
            mask = torch.arange(summed.shape[1], device=device)[None] < frames[:, None]
            summed = summed * mask[..., None]
            rows.append((summed.sum(1) / frames[:, None]).cpu())
        else:
            rows.append(summed.mean(1).cpu())
    return torch.cat(rows)


def ways(model: Any, about: Any, waves: list[np.ndarray], device: str, stop: int) -> list[Way]:
    """Returns all ways; those of ours share one copy of the weights for each precision."""
    depth = about.depth
    found = [
        Way("a  one at a time, fp32", lambda: plain(model, about, waves, 1, device)),
        Way(f"b  batches of {BATCH}, fp32", lambda: plain(model, about, waves, BATCH, device)),
    ]
    base: dict[str, SpeechEncoder] = {}

    given = [as_pcm(wave) for wave in waves] if device.startswith("cuda") else waves

    def ours(
        name: str, precision: str, last: int, keep: float | None = None, layout: str = "auto"
    ) -> None:
        layers = list(range(max(last - LAST, 0) + 1, last + 1))
        pruning = PruningConfig("merge", keep, layer=depth // 4) if keep else PruningConfig()
        config = SpeechConfig(
            model="-", layers=layers, combine="sum", pruning=pruning, layout=layout
        )
        if precision not in base:
            about.load = lambda: copy.deepcopy(model)
            base[precision] = SpeechEncoder(about, config, device=device, precision=precision)
        encoder = base[precision].variant(config)
        found.append(Way(name, lambda: encoder.encode(given), encoder))

    ours("c  ours, fp32", "fp32", depth)
    ours("d  ours, bf16", "bf16", depth)
    if device.startswith("cuda"):
        ours("d  ours, bf16, packed", "bf16", depth, layout="packed")
        ours("e  bf16, packed, keep 0.5", "bf16", depth, 0.5, layout="packed")
    ours("e  bf16, keep 0.7", "bf16", depth, 0.7)
    ours("e  bf16, keep 0.5", "bf16", depth, 0.5)
    ours(f"f  bf16, {stop} of {depth} layers", "bf16", stop)
    if depth // 4 < stop:
        ours(f"f  bf16, {stop} of {depth} layers, keep 0.5", "bf16", stop, 0.5)
    return found


def measure(table: list[Way], rounds: int) -> None:
    """Runs every way once unmeasured, then `rounds` times, turning the order."""
    for way in table:
        way.vectors = way.run()
    for number in range(rounds):
        for k in range(len(table)):
            way = table[(k + number) % len(table)]
            cpu, wall = time.process_time(), time.perf_counter()
            way.run()
            way.cpu.append(time.process_time() - cpu)
            way.wall.append(time.perf_counter() - wall)


def matmul_rate(device: str) -> float:
    """Returns operations per second of a bf16 product of two 8192 x 8192 matrices."""
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - began)


def read(sounds: list[str], count: int, seconds: list[float]) -> list[np.ndarray]:
    """Returns `count` sounds at 16 kHz, spread evenly over what is given; noise if nothing is."""
    if not sounds:
        random = np.random.default_rng(0)
        lengths = [seconds[i % len(seconds)] for i in range(count)]
        return [random.normal(0, 0.1, int(s * 16_000)).astype(np.float32) for s in lengths]
    from semi.data.audio import load_audio

    if Path(sounds[0]).suffix in (".csv", ".tsv", ".parquet", ".jsonl"):
        from semi.data.manifest import load_manifest

        sounds = load_manifest(sounds[0]).table["audio"].dropna().tolist()
    chosen = np.unique(np.linspace(0, len(sounds) - 1, count).astype(int))
    return [load_audio(sounds[i]) for i in chosen]


def report(table: list[Way], waves: list[np.ndarray], device: str) -> None:
    """Prints the table as Markdown."""
    first, exact = table[0], table[2]
    sound = sum(map(len, waves)) / 16_000
    gpu = device.startswith("cuda")
    rate = matmul_rate(device) if gpu else 0.0
    head = ["way", "utterances / CPU-second", "utterances / s", "s of sound / s", "against a",
            "centred cosine to c"]  # fmt: skip
    if gpu:
        head.append(f"share of {rate / 1e12:.0f} TFLOP/s")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for way in table:
        cpu, wall = statistics.median(way.cpu), statistics.median(way.wall)
        used = (lambda w: w.wall) if gpu else (lambda w: w.cpu)
        ratio = statistics.median(used(first)) / statistics.median(used(way))
        cosine = ""
        if way.vectors.shape == exact.vectors.shape and " layers" not in way.name:
            x, y = (v - v.mean(0) for v in (way.vectors, exact.vectors))
            cosine = f"{torch.cosine_similarity(x, y).mean():.4f}"
        cells = [way.name, f"{len(waves) / cpu:.2f}", f"{len(waves) / wall:.2f}",
                 f"{sound / wall:.1f}", f"{ratio:.2f} x", cosine]  # fmt: skip
        if gpu:
            cells.append(f"{_share(way, waves, wall, rate):.0%}" if way.encoder else "")
        print("| " + " | ".join(cells) + " |")


def _share(way: Way, waves: list[np.ndarray], wall: float, rate: float) -> float:
    encoder = way.encoder
    assert encoder is not None
    pruning = encoder.config.pruning
    done = sum(
        operations(encoder.backbone, len(w), last=max(encoder.layers), pruning=pruning)
        for w in waves
    )
    return done / wall / rate


def main() -> None:
    """Runs all ways and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("sounds", nargs="*")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 4.0, 6.0, 8.0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stop", type=int, default=0, help="default: half of the layers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.model.startswith("random-"):
        model = random_hubert(args.model)
        about = describe(model.config, load=lambda: model, identity={})
    else:
        about = speech_model(args.model)
        model = about.load()
    model = model.to(args.device)
    waves = read(args.sounds, args.count, args.seconds)
    table = ways(model, about, waves, args.device, args.stop or about.depth // 2)
    measure(table, args.rounds)

    import transformers

    lengths = [len(w) / 16_000 for w in waves]
    warning = "RANDOM WEIGHTS: speed only. " if args.model.startswith("random-") else ""
    print(
        f"{warning}{Path(args.model).name}: {about.depth} layers, {about.width} wide; {len(waves)} "
        f"sounds of {min(lengths):.1f} to {max(lengths):.1f} s, mean {np.mean(lengths):.1f} s; "
        f"{args.rounds} rounds, medians"
    )
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else processor()
    print(
        f"{where}, {args.threads} of {os.cpu_count()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}\n"
    )
    report(table, waves, args.device)
    if about.model_type != "whisper":
        apart = (table[0].vectors - table[2].vectors).abs().max()
        print(f"\nc differs from a by {apart:.1e} at most")
    else:
        print("\na and b average the 30 s that transformers pads to; c averages the sound alone")


def processor() -> str:
    """Returns the processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    bf16 = any("avx512_bf16" in line or "amx_bf16" in line for line in lines)
    return (names[0] if names else platform.machine()) + (" with bf16" if bf16 else "")


if __name__ == "__main__":
    main()
