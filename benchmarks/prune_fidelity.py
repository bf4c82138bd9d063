"""Prints what token pruning does to an encoder's utterance vectors, beside stopping early.

    python benchmarks/prune_fidelity.py MODEL_FOLDER MANIFEST.csv [MANIFEST.csv ...] --read 3 6

Every method, keep rate and layer on the same utterances, one un-padded utterance at a time,
training-free; a table for each layer that is read. Per setting: operations of the encoder as far
as that layer, against un-pruned; cosine of centred vectors to the un-pruned ones (mean and 5th
percentile); share of the 10 nearest neighbours kept; and for each manifest macro-F1 of a logistic
regression over unseen speakers, trained and tested on vectors of that very setting, with the change
against un-pruned and its 95 % interval (over whole speakers). A manifest of several corpora
(column `corpus`) has a head and classes of their own for each. `stop k` runs k layers and prunes
nothing; the last column is the `stop` that costs what the setting costs. Random weights tell
nothing here.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.encoders.backbone import Backbone
from models.encoders.cost import operations
from models.encoders.merging import METHODS
from models.encoders.numerics import centred_cosine
from models.encoders.padding import normalized
from models.encoders.pruning import PruningConfig, TokenPruner, Tokens
from models.encoders.speech_models import make_backbone, speech_model
from semi.evaluation.intervals import paired_interval
from semi.experiments.pruning.fidelity import neighbour_overlap, neighbours, out_of_fold

Setting = tuple[str, int, float]  # method, layer, keep rate; ("stop", layers that run, 1.0)


@dataclass
class Gold:
    """What one manifest's heads are judged by."""

    name: str
    rows: np.ndarray  # (N,) positions in the table
    label: np.ndarray  # (N,) every corpus has its own classes
    corpus: np.ndarray  # (N,)
    speaker: np.ndarray  # (N,)
    fold: np.ndarray  # (N,) no speaker in two


def vectors(
    backbone: Backbone, wave: torch.Tensor, table: list[Setting], read: list[int], **options
) -> Iterator[tuple[Setting, int, torch.Tensor]]:
    """Yields setting, layer read and vector (D,); what settings share is computed once."""
    row = backbone.prepare(wave)[None]
    hidden, frames = backbone.embed(row, [row.shape[-1]])
    tokens = Tokens(frames, hidden.shape[1], hidden.device)

    def pooled(state: torch.Tensor, now: Tokens, done: int) -> torch.Tensor:
        return now.mean(backbone.finish(state) if done == backbone.depth else state)[0]

    for index, layer in enumerate(backbone.layers[: max(read)]):
        middle = backbone.attend(layer, hidden, None, None)
        for setting in table:
            method, at, rate = setting
            if at != index or method == "stop":
                continue
            pruner = TokenPruner(PruningConfig(method, rate, layer=at, **options), backbone.depth)
            now = pruner.start(frames, hidden.shape[1], hidden.device)
            q, k, v, out = middle.q, middle.k, middle.v, middle.out_weight
            state, now = pruner.prune(at, middle.hidden, now, q, k, v, out)
            state = backbone.feed_forward(layer, state)
            for done in range(index + 1, max(read) + 1):
                if done > index + 1:
                    later = backbone.layers[done - 1]
                    bias = now.attention_bias(state.dtype)
                    state = backbone.feed_forward(
                        later, backbone.attend(later, state, bias, None).hidden
                    )
                if done in read:
                    yield setting, done, pooled(state, now, done)
        hidden = backbone.feed_forward(layer, middle.hidden)
        yield ("stop", index + 1, 1.0), index + 1, pooled(hidden, tokens, index + 1)


def read_manifests(names: list[str], limit: int) -> pd.DataFrame:
    """Returns rows spread evenly over each manifest, with the audio's whole path."""
    parts = []
    for name in names:
        table = pd.read_csv(name, dtype=str)
        step = max(len(table) * len(names) / limit, 1.0) if limit else 1.0
        rows = np.unique(np.arange(0, len(table), step).astype(int))
        part = table.iloc[rows[rows < len(table)]].assign(source=Path(name).parent.name)
        parts.append(part.assign(path=[str(Path(name).parent / p) for p in part.path]))
    return pd.concat(parts, ignore_index=True)


def gold_of(frame: pd.DataFrame) -> list[Gold]:
    """Returns each manifest's labels, and folds in which every speaker stays on one side."""
    from sklearn.model_selection import GroupKFold

    golds = []
    for name, part in frame.groupby("source", sort=False):
        corpus = part["corpus"].fillna(name) if "corpus" in part else pd.Series(name, part.index)
        label = (corpus.astype(str) + ":" + part.label).factorize(sort=True)[0]
        fold = np.zeros(len(part), np.int64)
        for one in corpus.unique():
            rows_of_corpus = np.flatnonzero(corpus == one)
            speakers = part.speaker.iloc[rows_of_corpus]
            folds = GroupKFold(min(10, speakers.nunique()))
            for number, (_, test) in enumerate(folds.split(rows_of_corpus, groups=speakers)):
                fold[rows_of_corpus[test]] = number
        rows, speaker = part.index.to_numpy(), part.speaker.to_numpy(str)
        golds.append(Gold(str(name), rows, label, corpus.to_numpy(str), speaker, fold))
    return golds


def predictions(x: np.ndarray, gold: Gold) -> np.ndarray:
    """Returns out-of-fold predictions (N,), every corpus by a head of its own."""
    predicted = np.zeros(len(gold.rows), np.int64)
    for corpus in np.unique(gold.corpus):
        here = gold.corpus == corpus
        predicted[here] = out_of_fold(x[gold.rows[here]], gold.label[here], gold.fold[here])
    return predicted


def macro_f1(gold: Gold, predicted: np.ndarray) -> float:
    """Returns macro-F1 in percent."""
    from sklearn.metrics import f1_score

    return 100 * float(f1_score(gold.label, predicted, average="macro"))


def measure(args: argparse.Namespace, frame: pd.DataFrame) -> tuple[dict, dict, int]:
    """Returns vectors (N, D) and mean operations by (setting, layer read), and the depth."""
    import soundfile

    model = speech_model(args.model)
    backbone = make_backbone(model.load()).float().eval()
    depth = backbone.depth
    read = args.read or [depth]
    layers = args.layers or sorted({depth // 6, depth // 4, depth // 3, depth // 2})
    table: list[Setting] = list(itertools.product(args.methods, layers, args.keep))
    options = {
        "score": args.score,
        "k_min": args.k_min,
        "proportional_attention": not args.plain_attention,
    }
    collected: dict[tuple[Setting, int], list[np.ndarray]] = {}
    flops: dict[tuple[Setting, int], float] = {}
    with torch.inference_mode():
        for number, path in enumerate(frame.path):
            samples, rate = soundfile.read(path, dtype="float32")
            if rate != 16_000 or samples.ndim != 1:
                raise SystemExit(f"{path}: expected 16 kHz mono")
            samples = samples[: backbone.longest]
            wave = normalized(samples) if model.normalize else samples
            wave = torch.from_numpy(wave)
            for setting, last, vector in vectors(backbone, wave, table, read, **options):
                key = (setting, last)
                collected.setdefault(key, []).append(vector.numpy())
                method, at, rate = setting
                stop = method == "stop"
                pruning = None if stop else PruningConfig(method, rate, layer=at, k_min=args.k_min)
                cost = operations(backbone, len(samples), last=last, pruning=pruning)
                flops[key] = flops.get(key, 0.0) + cost / len(frame)
            if number % 100 == 99:
                print(f"{number + 1} of {len(frame)}", file=sys.stderr, flush=True)
    return {key: np.stack(rows) for key, rows in collected.items()}, flops, depth


def report(frame: pd.DataFrame, vectors: dict, flops: dict, read: list[int]) -> None:
    """Prints a table for every layer that is read, as Markdown."""
    golds = gold_of(frame)
    stops = {key: macros(x, golds) for key, x in vectors.items() if key[0][0] == "stop"}
    order = {name: place for place, name in enumerate(METHODS)}
    names = "".join(f" F1 {gold.name} | change [95 %] |" for gold in golds)
    for last in read:
        full = (("stop", last, 1.0), last)
        near = neighbours(vectors[full])
        print(f"\n## Vectors of layer {last}\n")
        print(f"| method | layer | keep | FLOPs | cosine | 5th % | kNN@10 |{names} same FLOPs |")
        print("|---" * (8 + 2 * len(golds)) + "|")
        pruned = [key for key in vectors if key[1] == last and key not in stops]
        for key in [*sorted(pruned, key=lambda k: order[k[0][0]]), *stops]:
            (method, layer, keep), at = key
            if at > last:
                continue
            same_space = at == last
            cosine = centred_cosine(vectors[full], vectors[key])
            share = flops[key] / flops[full]
            cells = [method, str(layer), f"{keep:g}", f"{share:.2f}"]
            cells += [f"{cosine.mean():.4f}", f"{np.percentile(cosine, 5):.4f}"]
            cells = cells if same_space else [*cells[:4], "", ""]
            cells.append(f"{neighbour_overlap(near, neighbours(vectors[key])).mean():.3f}")
            scores = stops.get(key) or macros(vectors[key], golds)
            for gold, (score, after), (_, before) in zip(golds, scores, stops[full], strict=True):
                gap = paired_interval(after, before, gold.label, gold.speaker, "macro_f1")
                points = [100 * v for v in (gap.value, gap.low, gap.high)]
                cells += [f"{score:.1f}", "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points)]
            equal = min(stops, key=lambda k: abs(flops[k] - flops[key]))
            rivals = " / ".join(f"{score:.1f}" for score, _ in stops[equal])
            cells.append("" if method == "stop" else f"stop {equal[1]}: {rivals}")
            print("|", " | ".join(cells), "|", flush=True)


def macros(x: np.ndarray, golds: list[Gold]) -> list[tuple[float, np.ndarray]]:
    """Returns macro-F1 and the predictions (N,) behind it, for each manifest."""
    predicted = [predictions(x, gold) for gold in golds]
    return [(macro_f1(gold, p), p) for gold, p in zip(golds, predicted, strict=True)]


def main() -> None:
    """Runs the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--limit", type=int, default=0, help="utterances in all; 0 = every one")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--keep", nargs="+", type=float, default=[0.9, 0.7, 0.5, 0.3])
    parser.add_argument("--layers", nargs="+", type=int, default=None, help="L/6, L/4, L/3, L/2")
    parser.add_argument("--read", nargs="+", type=int, default=None, help="layers; the last")
    parser.add_argument("--score", default="received")
    parser.add_argument("--k-min", type=int, default=16)
    parser.add_argument("--plain-attention", action="store_true", help="not proportional")
    args = parser.parse_args()
    frame = read_manifests(args.manifests, args.limit)
    vectors, flops, depth = measure(args, frame)
    width = next(iter(vectors.values())).shape[1]
    print(f"{len(frame)} utterances, vectors {width} wide, {depth} layers")
    report(frame, vectors, flops, args.read or [depth])


if __name__ == "__main__":
    main()
