"""What 8-bit integers in the linear layers cost in exactness and save in time, beside bf16.

    python benchmarks/int8.py SPEECH_MODEL TEXT_MODEL [--count 12]

Both are folders of pretrained encoders. Centred cosine of the utterance vectors to those of fp32 on
bundled recordings and texts, and CPU-seconds of one thread against fp32. Two ways: torch's own
dynamic quantisation (one scale for a whole activation), and `precision=int8`, which has a scale for
each token and each output.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from extract import processor
from torch import nn

from models.encoders import SpeechConfig, TextConfig, build_speech_encoder, build_text_encoder
from models.encoders.numerics import centred_cosine
from semi.data.audio import load_audio
from semi.data.corpora import bundled_emodb


def dynamic(model: nn.Module) -> nn.Module:
    """Returns the model as torch quantises it dynamically."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def timed(encoder: Any, items: list) -> tuple[torch.Tensor, float]:
    """Returns the vectors (N, D) and the CPU-seconds of a second run."""
    encoder.encode(items)
    began = time.process_time()
    return encoder.encode(items), time.process_time() - began


def rows(name: str, build: Callable[[str], Any], network: str, items: list) -> None:
    """Prints a line of the table for each way; `network` is the attribute that holds the model."""
    encoder = build("fp32")
    exact, usual = timed(encoder, items)
    whole = getattr(encoder, network)
    for way in ("bf16", "int8, torch dynamic", "int8, by token"):
        other = build({"bf16": "bf16", "int8, by token": "int8"}.get(way, "fp32"))
        if "dynamic" in way:
            other.__dict__[network] = dynamic(copy.deepcopy(whole))
        vectors, spent = timed(other, items)
        cosine = centred_cosine(vectors.numpy(), exact.numpy())
        print(f"| {name} | {way} | {cosine.mean():.4f} | {cosine.min():.4f} | "
              f"{usual / spent:.1f}x |")  # fmt: skip


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("speech")
    parser.add_argument("text")
    parser.add_argument("--count", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(bundled_emodb(), dtype=str)
    files = table["audio"][:: len(table) // args.count][: args.count]
    sounds = [load_audio(bundled_emodb().parent / name) for name in files]
    texts = sorted(table["text"].unique()) * 4
    print(f"{processor()}, one thread, torch {torch.__version__}; {len(sounds)} recordings, "
          f"{len(texts)} texts\n")  # fmt: skip
    print("| encoder | way | centred cosine to fp32, mean | least | against fp32 |")
    print("|---|---|---|---|---|")
    for layers in ([], [3]):
        speech = SpeechConfig(model=args.speech, layers=layers)
        name = f"speech, layer {layers[0]}" if layers else "speech, last layer"
        rows(name, lambda p, s=speech: build_speech_encoder(s, precision=p), "backbone", sounds)
    text = TextConfig(model=args.text)
    rows("text", lambda p: build_text_encoder(text, precision=p), "model", texts)


if __name__ == "__main__":
    main()
