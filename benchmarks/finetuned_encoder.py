"""Whether contrast earns with an encoder fine-tuned on the labels; see benchmarks/contrast.py.

    python benchmarks/finetuned_encoder.py MODEL_FOLDER MANIFEST.csv FEATURES.npz WORK
        [--budgets 50] [--draws 0 1] [--steps 60]

For each outer part and draw of labels the top layers of the encoder are fine-tuned on the labelled
training rows alone (`semi finetune`), all rows are read anew with it, and the students of
contrast.py learn from these vectors through all rounds. What WORK holds already is not made again.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from contrast import ARMS, CORPORA, interval, problem
from joined_speech import read
from noisy_recordings import speech_of
from prune_fidelity import read_manifests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import semi
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.training.finetune.finetune import finetune
from semi.training.views import viewed


def adapted(args: argparse.Namespace, table: pd.DataFrame, name: str) -> Path:
    """Returns the folder of the encoder after fine-tuning on the labelled rows of a table."""
    folder = args.work / f"{name}-finetune"
    if not (folder / "speech").is_dir():
        args.work.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.work / f"{name}.csv", index=False)
        words = {
            "name": name, "runs_dir": args.work, "data.manifest": args.work / f"{name}.csv",
            "data.audio_root": "/", "data.allow_leaks": "[text]", "data.test_fraction": 0,
            "encoders.speech.model": args.model, "encoders.speech.layers": "[2,3,4]",
            "encoders.text.model": "none", "features.store": args.work / "store",
            "finetune.steps": args.steps, "finetune.accumulate": 1, "finetune.watch": "false",
            "finetune.lr": 1e-4,
        }  # fmt: skip
        finetune(semi.load_config(None, [f"{k}={v}" for k, v in words.items()]))
    return folder / "speech"


def main() -> None:
    """Fine-tunes, reads, learns, and prints what each student adds to the linear one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("features", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--budgets", type=float, nargs="+", default=[50])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    arrays, views = dict(np.load(args.features)), CORPORA[args.features.stem][0]
    paths = read_manifests([args.manifest], 0).set_index("id").loc[arrays["id"], "path"]
    waves = [read(path) for path in paths]
    wanted = [part for parts in views.parts.values() for part in parts]
    about = DatasetConfig(features=str(args.features), pca=None, views=wanted)
    corpus, found = load_corpus("as it was", about), defaultdict(list)
    for part, test in enumerate(outer_splits(corpus, 3)):
        for budget in args.budgets:
            for draw in args.draws:
                data = dataset_of(
                    corpus, outer(corpus, test, part), budget, draw=draw, folds=5, seed=0
                )
                assert data is not None, f"budget {budget:g} leaves nothing to hide"
                gold, name = data.gold.numpy(), f"part{part}-{budget:g}-draw{draw}"
                table = pd.DataFrame({k: arrays[k] for k in ("id", "speaker")})
                table["audio"] = [str(Path(p).resolve()) for p in paths]
                table["label"] = ""
                table.loc[gold, "label"] = arrays["label"][gold]
                mine = args.work / f"{name}.npz"
                if not mine.is_file():
                    folder = adapted(args, table.drop(index=test), name)
                    heard, speech = speech_of(folder, waves), arrays["speech"].copy()
                    speech[:, : heard.shape[1]] = heard
                    np.savez(mine, **arrays | {"speech": speech})  # pyright: ignore[reportArgumentType]
                other = load_corpus(name, replace(about, features=str(mine)))
                tuned = dataset_of(
                    other, outer(other, test, part), budget, draw=draw, folds=5, seed=0
                )
                assert tuned is not None and torch.equal(tuned.gold, data.gold)
                for words, some in (("as it was: ", data), ("fine-tuned: ", tuned)):
                    scores = problem(viewed(some, views), 1.0, None, words, defaultdict(list))
                    for case, by_arm in scores.items():
                        found[case].append(by_arm)
    print("| case | linear | " + " | ".join(ARMS) + " |\n|---|---|" + "---|" * len(ARMS))
    for case, rows in found.items():
        gains = [interval([r[arm] - r["linear"] for r in rows]) for arm in ARMS]
        print(f"| {case} | {np.mean([r['linear'] for r in rows]):.1f} | {' | '.join(gains)} |")


if __name__ == "__main__":
    main()
