"""What self-training brings on Emo-DB: seeds x label shares, beside scikit-learn.

usage: python benchmarks/emodb_rounds.py [--speech acoustic|FOLDER] [--layers 3]
           [--fractions 0.1,0.2] [--seeds 5] [--work FOLDER] [-o OUT.csv] [key=value ...]

Real speech (the bundled corpus), the default recipe of configs/demo.yaml. Every seed draws its own
test speakers and labels. The scikit-learn rows see the same standardised speech features of the
same rows, reduced to 50 principal components: logistic regression, and SelfTrainingClassifier at
its thresholds .7 and .9. Scores are macro-F1 in % on the test speakers, which nothing looks at.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd

import semi
from semi.config.schema import Config
from semi.data.corpora import bundled_emodb
from semi.data.manifest import load_manifest
from semi.data.splits import make_splits
from semi.evaluation.run_json import round_records
from semi.self_training.prepare import prepare

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"


def ours(config: Config) -> dict[str, float]:
    """Returns the warm start's and the shipped round's score, and how the run ended."""
    result = semi.self_train(config, progress=False)
    records = round_records(result.path)
    shipped = next(r for r in records if r["round"] == result.best_round)
    return {
        "warm_start": 100 * records[0]["metrics_test"]["macro_f1"],
        "final": 100 * shipped["metrics_test"]["macro_f1"],
        "warm_start_oof": 100 * records[0]["gate"]["value"],
        "final_oof": 100 * shipped["gate"]["value"],
        "shipped_round": result.best_round,
        "accepted": sum(r["accepted"] for r in records[1:]),
        "tried": result.rounds,
    }


def theirs(config: Config) -> dict[str, float]:
    """Returns scikit-learn's scores on the same features and rows."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.semi_supervised import SelfTrainingClassifier

    manifest = load_manifest(config.data.manifest, config.data)
    splits = make_splits(manifest, config.data, folds=config.train.folds, seed=config.seed)
    dataset = prepare(config, manifest, splits, progress=False).dataset
    gold, pool, test = (getattr(dataset, k).numpy() for k in ("gold", "pool", "test"))
    x, label = dataset.values["speech"].numpy(), dataset.label.numpy()
    seen = np.concatenate([gold, pool])
    reduce = PCA(min(50, len(seen)), random_state=0).fit(x[seen])
    x = reduce.transform(x)
    x = x / x[seen].std()
    y = np.concatenate([label[gold], np.full(len(pool), -1)])

    def logistic():
        return LogisticRegression(C=0.3, max_iter=500, class_weight="balanced")

    def scored(model) -> float:
        predicted = model.predict(x[test])
        labels = range(len(dataset.classes))
        return 100 * float(
            f1_score(label[test], predicted, labels=labels, average="macro", zero_division=0)
        )

    scores = {"logistic": scored(logistic().fit(x[gold], label[gold]))}
    for threshold in (0.7, 0.9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = SelfTrainingClassifier(logistic(), threshold=threshold, max_iter=5)
            scores[f"sklearn_self_training_{threshold}"] = scored(model.fit(x[seen], y))
    return scores


def summary(rows: pd.DataFrame) -> str:
    """Returns means and paired differences with standard errors, per label share."""
    lines = []
    for share, part in rows.groupby("fraction"):
        gain = part["final"] - part["warm_start"]
        lines.append(
            f"{share:.0%} labels, {len(part)} seeds: warm start {part['warm_start'].mean():.1f}, "
            f"final {part['final'].mean():.1f} ({gain.mean():+.1f}, SE {gain.sem():.1f}); "
            f"final below warm start in {int((gain < 0).sum())} of {len(part)}"
        )
        for name in ("sklearn_self_training_0.7", "sklearn_self_training_0.9"):
            change = part[name] - part["logistic"]
            lines.append(
                f"    {name}: logistic regression {part['logistic'].mean():.1f}, self-training "
                f"{part[name].mean():.1f} ({change.mean():+.1f}, SE {change.sem():.1f})"
            )
    return "\n".join(lines)


def main() -> None:
    """Runs every seed and share, writes the CSV after each and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", default="acoustic")
    parser.add_argument("--layers", default="")
    parser.add_argument("--fractions", default="0.1,0.2")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", default="runs/emodb-rounds")
    parser.add_argument("-o", "--output", default="emodb_rounds.csv")
    parser.add_argument("settings", nargs="*")
    args = parser.parse_args()
    rows = []
    for seed in range(args.seeds):
        for share in args.fractions.split(","):
            overrides = [
                f"name=s{seed}-{share}", f"runs_dir={args.work}", f"seed={seed}",
                f"data.manifest={bundled_emodb()}", f"data.labeled_fraction={share}",
                f"encoders.speech.model={args.speech}", f"encoders.speech.layers=[{args.layers}]",
                f"features.store={args.work}/store", "tracking=false", *args.settings,
            ]  # fmt: skip
            config = semi.load_config(RECIPE, overrides)
            row = {"speech": Path(args.speech).name, "fraction": float(share), "seed": seed}
            rows.append(row | ours(config) | theirs(config))
            print({k: round(v, 1) if isinstance(v, float) else v for k, v in rows[-1].items()},
                  flush=True)  # fmt: skip
            pd.DataFrame(rows).round(3).to_csv(args.output, index=False)
    print(summary(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
