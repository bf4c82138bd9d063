"""Extraction in benchmarks/gpu.py: how fast each way is, and whether it gives the CPU's vectors."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from extract import LAST, plain
from gpu_timing import Clock, Settings, timed

from models.encoders import PruningConfig, SpeechConfig
from models.encoders.cost import operations
from models.encoders.numerics import centred_cosine
from models.encoders.speech import SpeechEncoder
from models.encoders.speech_models import SpeechModel, describe, speech_model
from models.encoders.transport import as_pcm

RATE = 16_000
TINY = {
    "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
HUBERT = {
    "hubert-base": {},
    "hubert-large": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
        "conv_bias": True,
    },
}  # fmt: skip
WHISPER = {  # layers, width, heads, mel bands of the published encoders
    "whisper-base": (6, 512, 8, 80),
    "whisper-large": (32, 1280, 20, 128),
}


def random_models(small: bool) -> Iterator[tuple[str, SpeechModel]]:
    """Yields encoders of the published sizes with random weights; two tiny ones if `small`."""
    from transformers import HubertConfig, HubertModel, WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    for name, size in HUBERT.items():
        if not small or name == "hubert-base":
            shape = {**size, **TINY} if small else size
            yield name, built(lambda shape=shape: HubertModel(HubertConfig(**shape)))
    for name, size in WHISPER.items():
        if not small or name == "whisper-base":
            depth, width, heads, bands = (4, 24, 2, 80) if small else size
            config = WhisperConfig(
                encoder_layers=depth, d_model=width, encoder_attention_heads=heads,
                encoder_ffn_dim=4 * width, num_mel_bins=bands,
            )  # fmt: skip
            yield name, built(lambda config=config: WhisperEncoder(config))


def built(make: Any) -> SpeechModel:
    """Returns the model that `make` draws, as an encoder is described."""
    torch.manual_seed(0)
    model = make().eval()
    return describe(model.config, load=lambda: model, identity={"weights": "random"})


def models(settings: Settings) -> Iterator[tuple[str, SpeechModel]]:
    """Yields the encoders to measure: those that are named, or random ones."""
    for name in settings.models:
        yield name.rstrip("/").rpartition("/")[2], speech_model(name)
    if not settings.models:
        yield from random_models(settings.small)


def sounds(lengths: str, small: bool) -> list[np.ndarray]:
    """Returns noise in 16 bits: 20 minutes of 10 s or of 1 to 20 s; a second of it if `small`."""
    random = np.random.default_rng(0)
    seconds = [10.0] * 120 if lengths == "10 s" else list(random.uniform(1, 20, 114))
    if small:
        seconds = [0.5] * 2 if lengths == "10 s" else [0.3, 0.6, 0.4]
    waves = [random.normal(0, 0.1, int(s * RATE)).clip(-0.9, 0.9) for s in seconds]
    return [(wave * 32768).astype(np.int16) for wave in waves]


def ways(about: SpeechModel) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns name, precision and settings of every way of ours."""
    depth, half = about.depth, about.depth // 2
    layers = {"layers": list(range(max(depth - LAST, 0) + 1, depth + 1)), "combine": "sum"}
    merged = PruningConfig("merge", 0.5, layer=depth // 4)
    stopped = {"layers": list(range(max(half - LAST, 0) + 1, half + 1)), "combine": "sum"}
    return [
        ("padded", "fp32", layers),
        ("padded", "bf16", layers),
        ("packed", "bf16", layers | {"layout": "packed"}),
        ("packed, pruned to half", "bf16", layers | {"layout": "packed", "pruning": merged}),
        (f"padded, {half} of {depth} layers", "bf16", stopped),
    ]


def extraction(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yields audio-hours an hour of every encoder, length and way."""
    for name, about in models(settings):
        weights = about.load()
        about.load = lambda weights=weights: copy.deepcopy(weights)
        made: dict[str, SpeechEncoder] = {}
        for lengths in ("10 s", "1 to 20 s"):
            waves = sounds(lengths, settings.small)
            speed = baseline(weights, about, waves, settings.device, clock)
            yield row(name, lengths, "one file at a time, as baselines do", "fp32", speed, speed)
            for way, precision, given in ways(about):
                if clock.left() < 0:
                    yield {"encoder": name, "sounds": lengths, "way": way, "note": "no time left"}
                    continue
                config = SpeechConfig(model="-", **given)
                if precision not in made:
                    made[precision] = SpeechEncoder(
                        about, config, device=str(settings.device), precision=precision
                    )
                encoder = made[precision].variant(config)
                ours = hours(encoder, waves, settings, clock)
                found = row(name, lengths, way, precision, ours, speed)
                rate = settings.found.get(precision)
                if rate:
                    found["share of the matmul rate"] = work(encoder, waves) * ours / rate
                yield found


def row(
    name: str, lengths: str, way: str, precision: str, speed: float, first: float
) -> dict[str, Any]:
    """Returns a row of the table; speeds are seconds of sound a second, which are hours an hour."""
    return {
        "encoder": name, "sounds": lengths, "way": way, "precision": precision,
        "audio-hours an hour": speed, "x one file at a time": speed / first,
    }  # fmt: skip


def baseline(
    weights: Any, about: SpeechModel, waves: list[np.ndarray], device: torch.device, clock: Clock
) -> float:
    """Returns the speed of one file at a time through transformers, over about 3 s."""
    model = copy.deepcopy(weights).to(device)
    floats = [wave.astype(np.float32) / 32768 for wave in waves]
    plain(model, about, floats[:1], 1, str(device))
    began, done = time.perf_counter(), 0
    for wave in floats:
        plain(model, about, [wave], 1, str(device))  # ends with a copy to the host
        done += len(wave)
        if time.perf_counter() - began > min(3.0, max(clock.left(), 0)):
            break
    return done / RATE / (time.perf_counter() - began)


def hours(
    encoder: SpeechEncoder, waves: list[np.ndarray], settings: Settings, clock: Clock
) -> float:
    """Returns the speed of an encoder: decoded sounds in, vectors on the host out."""
    seconds = timed(lambda: encoder.encode(waves), settings, clock, 2.0)
    return sum(map(len, waves)) / RATE / seconds


def work(encoder: SpeechEncoder, waves: list[np.ndarray]) -> float:
    """Returns operations a second of sound."""
    last, pruning = max(encoder.layers), encoder.config.pruning
    done = [operations(encoder.backbone, len(w), last=last, pruning=pruning) for w in waves]
    return sum(done) / (sum(map(len, waves)) / RATE)


def equal_vectors(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yields how far the device's vectors of a few sounds are from the CPU's in float32."""
    random = np.random.default_rng(1)
    seconds = (0.4, 0.9, 0.5, 0.7) if settings.small else (1.5, 4.0, 2.5, 3.0)
    waves = [as_pcm(random.normal(0, 0.1, int(s * RATE)).astype(np.float32)) for s in seconds]
    for name, about in models(settings):
        weights = about.load()
        about.load = lambda weights=weights: copy.deepcopy(weights)
        exact, known = SpeechEncoder(about, SpeechConfig(model="-")), {}
        for way, precision, given in ways(about):
            if clock.left() < 0:
                yield {"encoder": name, "way": way, "note": "no time left"}
                continue
            config = SpeechConfig(model="-", **given)
            key = str([given["layers"], given.get("pruning")])  # the layout changes no number
            if key not in known:
                known[key] = exact.variant(config).encode(waves).numpy()
            want = known[key]
            there = SpeechEncoder(about, config, device=str(settings.device), precision=precision)
            got = there.encode(waves).numpy()
            yield {
                "encoder": name, "way": way, "precision": precision,
                "farthest": float(np.abs(got - want).max() / np.abs(want).max()),
                "least centred cosine": float(centred_cosine(got, want).min()),
            }  # fmt: skip
