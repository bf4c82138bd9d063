"""A small corpus of arrays, and a benchmark on it."""

import numpy as np

from semi.experiments.benchmark.config import load_bench


def write_features(path, rows=120, speakers=6, unknown=6, seed=0):
    """Writes an .npz of three classes, a layered view, a flat one and two scripts."""
    rng = np.random.default_rng(seed)
    label = np.arange(rows) % 3
    centre = rng.normal(size=(3, 8))
    layered = np.stack([centre[label] * (k == 1) + rng.normal(size=(rows, 8)) for k in range(3)], 1)
    names = np.array(["calm", "glad", "sad"])[label]
    names[-unknown:] = ""
    np.savez(
        path,
        id=np.array([f"u{i}" for i in range(rows)]),
        label=names,
        speaker=np.array([f"s{i // 3 % speakers}" for i in range(rows)]),
        script=np.array(["one", "two"])[np.arange(rows) // 3 // speakers % 2],
        speech=layered.astype(np.float16),
        text=(centre[label] + rng.normal(size=(rows, 8))).astype(np.float32),
    )
    return path


def bench(folder, features, *more):
    """Returns a benchmark of seconds."""
    return load_bench(
        None,
        [
            f"output={folder}/bench", f"datasets.toy.features={features}", "budgets=[12, 0.3]",
            "seeds=1", "draws=1", "outer_folds=2", "rules=[class_topk]", "resamples=200",
            "train.folds=2", "train.members=1", "train.steps=5", "train.batch=16",
            "model.hidden=8", "model.projection=4", "contrast.pretrain_steps=0",
            "contrast.weight=0", "contrast.weight_end=0", "rounds.max_rounds=1",
            "baselines=[self_training_0.7, self_training_0.9, label_spreading]", *more,
        ],
    )  # fmt: skip
