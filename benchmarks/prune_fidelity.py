"""Prints what token pruning does to an encoder's utterance vectors, beside stopping early.

    python benchmarks/prune_fidelity.py MODEL_FOLDER MANIFEST.csv [MANIFEST.csv ...]

Every method, keep rate and layer on the same utterances, one un-padded utterance at a time,
training-free. Per setting: operations of the whole encoder against un-pruned; cosine of centred
vectors to the un-pruned ones (mean and 5th percentile); share of the 10 nearest neighbours kept;
macro-F1 of a logistic regression over unseen speakers, trained and tested on vectors of that very
setting, with the change against un-pruned and its standard error over rows. Random weights tell
nothing here.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from models.encoders.backbone import Backbone
from models.encoders.flops import encoder_flops, frontend_flops
from models.encoders.merging import METHODS
from models.encoders.padding import normalized
from models.encoders.pruning import PruningConfig, TokenPruner, Tokens
from models.encoders.speech_models import make_backbone, speech_model

Setting = tuple[str, int, float]  # method, layer, keep rate; ("stop", layers that run, 1.0)


def settings(methods: list[str], layers: list[int], rates: list[float]) -> list[Setting]:
    """Returns all settings of the table."""
    return list(itertools.product(methods, layers, rates))


def vectors(
    backbone: Backbone, wave: torch.Tensor, table: list[Setting], stop: int, **options
) -> Iterator[tuple[Setting, torch.Tensor]]:
    """Yields the pooled vector (D,) of every setting; what settings share is computed once."""
    row = backbone.prepare(wave)[None]
    hidden, frames = backbone.embed(row, [row.shape[-1]])
    tokens = Tokens(frames, hidden.shape[1], hidden.device)

    def pooled(state: torch.Tensor, now: Tokens, done: int) -> torch.Tensor:
        return now.mean(backbone.finish(state) if done == backbone.depth else state)[0]

    for index, layer in enumerate(backbone.layers[:stop]):
        middle = backbone.attend(layer, hidden, None, None)
        for method, at, rate in table:
            if at != index or method == "stop":
                continue
            config = PruningConfig(method, rate, layer=at, **options)
            pruner = TokenPruner(config, backbone.depth)
            now = pruner.start(frames, hidden.shape[1], hidden.device)
            q, k, v, out = middle.q, middle.k, middle.v, middle.out_weight
            state, now = pruner.prune(at, middle.hidden, now, q, k, v, out)
            state = backbone.feed_forward(layer, state)
            for later in backbone.layers[index + 1 : stop]:
                bias = now.attention_bias(state.dtype)
                attended = backbone.attend(later, state, bias, None)
                state = backbone.feed_forward(later, attended.hidden)
            yield (method, at, rate), pooled(state, now, stop)
        hidden = backbone.feed_forward(layer, middle.hidden)
        yield ("stop", index + 1, 1.0), pooled(hidden, tokens, index + 1)


def operations(backbone: Backbone, samples: int, setting: Setting, last: int, k_min: int) -> float:
    """Returns the encoder's operations for one utterance, its front end included."""
    config = backbone.config
    width, depth = backbone.width, backbone.depth
    if config.model_type == "whisper":
        spectrum, bands = 2 * -(-samples // 320), config.num_mel_bins
        front = 2 * spectrum * width * 3 * (bands + width / 2)
        tokens, hidden = spectrum // 2, config.encoder_ffn_dim
    else:
        shapes = {"channels": config.conv_dim, "kernels": config.conv_kernel}
        front = frontend_flops(samples, **shapes, strides=config.conv_stride, width=width)
        tokens, hidden = backbone.frames(samples), config.intermediate_size
        taps, groups = config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        front += 2 * tokens * width * (width // groups) * taps
    method, layer, rate = setting
    stop = method == "stop"
    pruning = None if stop else PruningConfig(method, rate, layer=layer, k_min=k_min)
    shape = {"width": width, "depth": depth, "ffn": hidden}
    return front + encoder_flops(tokens, **shape, pruning=pruning, layers=layer if stop else last)


def centred_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns (N,) cosines after each set's mean is taken away."""
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def neighbour_overlap(a: np.ndarray, b: np.ndarray, k: int = 10) -> float:
    """Returns the mean share of the k nearest neighbours that two sets of vectors share."""
    near = []
    for x in (a, b):
        x = x - x.mean(0)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        similarity = x @ x.T
        np.fill_diagonal(similarity, -np.inf)
        near.append(np.argsort(-similarity, axis=1)[:, :k])
    return float(np.mean([len(set(p) & set(q)) / k for p, q in zip(*near, strict=True)]))


def predictions(x: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
    """Returns out-of-fold predictions over unseen speakers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = GroupKFold(min(5, frame.speaker.nunique()))
    return cross_val_predict(model, x, frame.label, groups=frame.speaker, cv=folds)


def macro_f1(frame: pd.DataFrame, predicted: np.ndarray) -> float:
    """Returns macro-F1 in percent."""
    from sklearn.metrics import f1_score

    return 100 * float(f1_score(frame.label, predicted, average="macro"))


def change(frame: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Returns macro-F1 of b minus a, and its standard error by a paired bootstrap of the rows."""
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(200):
        rows = generator.integers(0, len(frame), len(frame))
        part = frame.iloc[rows]
        draws.append(macro_f1(part, b[rows]) - macro_f1(part, a[rows]))
    return macro_f1(frame, b) - macro_f1(frame, a), float(np.std(draws))


def read(manifests: list[str], limit: int) -> pd.DataFrame:
    """Returns rows spread evenly over each manifest, with the audio's whole path."""
    parts = []
    for name in manifests:
        table = pd.read_csv(name, dtype=str)
        step = max(len(table) * len(manifests) / limit, 1.0) if limit else 1.0
        rows = np.unique(np.arange(0, len(table), step).astype(int))
        rows = rows[rows < len(table)]
        part = table.iloc[rows].assign(source=name)
        parts.append(part.assign(path=[str(Path(name).parent / p) for p in part.path]))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Runs the table."""
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--limit", type=int, default=0, help="utterances in all; 0 = every one")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--keep", nargs="+", type=float, default=[0.9, 0.7, 0.5, 0.3])
    parser.add_argument("--layers", nargs="+", type=int, default=None, help="L/6, L/4, L/3, L/2")
    parser.add_argument("--score", default="received")
    parser.add_argument("--k-min", type=int, default=16)
    parser.add_argument("--stop", type=int, default=0, help="layers that run; 0 = all of them")
    parser.add_argument("--plain-attention", action="store_true", help="not proportional")
    args = parser.parse_args()

    model = speech_model(args.model)
    backbone = make_backbone(model.load()).float().eval()
    depth = backbone.depth
    stop = args.stop or depth
    layers = args.layers or sorted({depth // 6, depth // 4, depth // 3, depth // 2})
    table = settings(args.methods, [layer for layer in layers if layer < stop], args.keep)
    table += [("stop", k, 1.0) for k in range(1, stop + 1)]
    options = {
        "score": args.score,
        "k_min": args.k_min,
        "proportional_attention": not args.plain_attention,
    }
    frame = read(args.manifests, args.limit)
    found: dict[Setting, list[np.ndarray]] = {setting: [] for setting in table}
    flops = dict.fromkeys(table, 0.0)
    with torch.inference_mode():
        for path in frame.path:
            samples, rate = soundfile.read(path, dtype="float32")
            if rate != 16_000 or samples.ndim != 1:
                raise SystemExit(f"{path}: expected 16 kHz mono")
            samples = samples[: backbone.longest]
            wave = normalized(samples) if model.normalize else samples
            wave = torch.from_numpy(wave)
            for setting, vector in vectors(backbone, wave, table, stop, **options):
                found[setting].append(vector.numpy())
            for setting in table:
                flops[setting] += operations(backbone, len(samples), setting, stop, args.k_min)
    report(frame, {k: np.stack(v) for k, v in found.items()}, flops, stop)


def report(
    frame: pd.DataFrame, found: dict[Setting, np.ndarray], flops: dict[Setting, float], depth: int
) -> None:
    """Prints the table as Markdown."""
    full: Setting = ("stop", depth, 1.0)
    groups = list(frame.groupby("source").groups.values())
    whole = [predictions(found[full][g], frame.loc[g]) for g in groups]
    heads = [f"F1 {Path(frame.source[g[0]]).parent.name}" for g in groups]
    print(f"{len(frame)} utterances, {found[full].shape[1]} wide, {depth} layers")
    print("| method | layer | keep | FLOPs | cosine | 5th % | kNN@10 |", *(f"{h} |" for h in heads))
    print("|---|---|---|---|---|---|---|" + "---|" * len(heads))
    for setting, x in found.items():
        cosine = centred_cosine(found[full], x)
        cells = [setting[0], str(setting[1]), f"{setting[2]:g}"]
        cells += [f"{flops[setting] / flops[full]:.2f}", f"{cosine.mean():.4f}"]
        cells += [f"{np.percentile(cosine, 5):.4f}", f"{neighbour_overlap(found[full], x):.3f}"]
        for group, before in zip(groups, whole, strict=True):
            part = frame.loc[group]
            after = predictions(x[group], part)
            delta, error = change(part, before, after)
            cells.append(f"{macro_f1(part, after):.1f} ({delta:+.1f} ± {error:.1f})")
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
