"""Where contrast earns: with and without it, also with a modality missing, few pairs, noisy sound.

    python benchmarks/contrast.py FOLDER [--draws 0 1 4] [--budgets 20 50 0.1] [--corpora ...]
        [--recordings FOLDER]

FOLDER holds emodb.npz, emodb_goemotions.npz, etts.npz, mosi.npz, urdu.npz and meld.npz (see
benchmarks/corpora.yaml). Three outer folds over groups, all rounds of recipe auto, no floor, fixed
views. Four students learn from the same rows:

  linear    model.kind=discriminant on principal axes: no steps, no contrast
  control   contrastive_residual with contrast.weight=0: the same steps without contrast
  steps     contrastive_residual as it is by default: contrast in its steps
  axes      linear on axes stretched along what modalities share (contrast.axes): no steps
  gold      axes where gold out-of-fold is for it, else linear: what recipe auto does

Each is tested on rows as they are, with one modality alone, and with noise on the sound (Gaussian,
on its vectors, `--noise` times as large as they are; with --recordings also in the recordings, from
NAME.npz as benchmarks/noisy_recordings.py makes them); then the same after training on rows of
which one in ten has both modalities, the others one of them. The table has linear's macro-F1 in %
and what others add to it, with a 95 % t interval over (fold x draw).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student_t

from models.fusion import FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.evaluation.metrics import score
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.self_training.axes_selection import LEAST_GAIN, STRETCH
from semi.self_training.floor import standing
from semi.self_training.model_selection import for_trials
from semi.self_training.record import shipped_prediction
from semi.self_training.rounds import run_rounds
from semi.self_training.state import RoundState
from semi.training.dataset import Dataset
from semi.training.views import Views, joined, viewed

SOUND = ["speech.2", "speech.3", "speech.4"]
CORPORA: dict[str, tuple[Views, dict]] = {
    "emodb": (Views({"speech": SOUND}), {}),
    "emodb_goemotions": (Views({"speech": SOUND, "text": ["text"]}), {}),
    "etts": (Views({"speech": SOUND, "text": ["text"]}), {}),
    "mosi": (Views({"speech": ["speech"], "text": ["text"]}), {}),
    "urdu": (Views({"speech": SOUND}), {"standardize": "auto"}),
    "meld": (
        Views({"text": ["text"], "context": ["context"]}),
        {"standardize": "global", "group": "dialogue"},
    ),
}
ARMS = ("control", "steps", "axes", "gold")
PAIRED = 0.1  # share of training rows that have both modalities where few have
Found = dict[str, dict[str, float]]  # case -> arm -> macro-F1 in %


def students() -> dict[str, LearningConfig]:
    """Returns the settings of the students that are trained."""
    linear, steps = (
        LearningConfig(recipe="auto", model=FusionConfig(kind=kind))
        for kind in ("discriminant", "contrastive_residual")
    )
    still = replace(steps.contrast, weight=0.0, weight_end=0.0)
    return {
        "linear": linear,
        "control": replace(steps, contrast=still, given=["contrast.weight"]),
        "steps": steps,
        "axes": replace(linear, contrast=replace(linear.contrast, axes=STRETCH)),
    }


def lived(dataset: Dataset, config: LearningConfig) -> RoundState:
    """Returns the round that ships."""
    config = resolved(config, len(dataset.gold), len(dataset.pool))[0]
    return run_rounds(dataset, replace(config, rounds=replace(config.rounds, floor=False))).final


def macro_f1(dataset: Dataset, state: RoundState) -> float:
    """Returns macro-F1 on the test rows in percent."""
    answer = shipped_prediction(dataset, state, dataset.test)
    assert answer is not None
    return 100 * score(answer.probs.numpy(), dataset.label[dataset.test], dataset.classes).macro_f1


def cases(dataset: Dataset, noise: float, recorded: torch.Tensor | None) -> dict[str, Dataset]:
    """Returns the dataset as it is, with one modality alone, and with noise on its sound."""
    found = {"as it is": dataset}
    if len(dataset.dims) > 1:
        for i, name in enumerate(dataset.dims):
            alone = torch.arange(len(dataset.dims)) == i
            found[f"{name} alone"] = replace(dataset, present=dataset.present & alone)
    if "speech" in dataset.values:
        x = dataset.values["speech"]
        drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        noisy = x + noise * x[dataset.pool].std(0) * drawn
        found["noisy sound"] = replace(dataset, values=dataset.values | {"speech": noisy})
        if recorded is not None:
            values = dataset.values | {"speech": recorded}
            found["noisy recordings"] = replace(dataset, values=values)
            if len(dataset.dims) > 1:
                alone = torch.tensor([name == "speech" for name in dataset.dims])
                found["noisy recordings alone"] = replace(
                    dataset, values=values, present=dataset.present & alone
                )
    return found


def with_few_pairs(dataset: Dataset, seed: int) -> Dataset:
    """Returns the dataset with both modalities in PAIRED of the training rows, one in others."""
    generator = torch.Generator().manual_seed(seed)
    rows, views = dataset.present.shape
    one = torch.randint(views, (rows,), generator=generator)[:, None] == torch.arange(views)
    keep = one | (torch.rand(rows, 1, generator=generator) < PAIRED)
    keep[dataset.test] = True
    return replace(dataset, present=dataset.present & keep)


def problem(
    dataset: Dataset, noise: float, recorded: torch.Tensor | None, words: str,
    cpu: dict[str, list[float]],
) -> Found:  # fmt: skip
    """Returns what every student scores in every case; `words` come before the case's name."""
    found: Found = defaultdict(dict)
    worth = {}
    for arm, config in students().items():
        if arm == "axes" and len(dataset.dims) < 2:
            continue
        begun = time.process_time()
        state = lived(dataset, config)
        cpu[arm].append(time.process_time() - begun)
        worth[arm] = standing(dataset, state)
        for name, seen in cases(dataset, noise, recorded).items():
            found[words + name][arm] = macro_f1(seen, state)
    if "axes" in worth:
        chosen = "axes" if worth["axes"] - worth["linear"] > LEAST_GAIN else "linear"
        for by_arm in found.values():
            by_arm["gold"] = by_arm[chosen]
    return found


def interval(gains: list[float]) -> str:
    """Returns '+1.2 [-0.3, +2.7]': mean and 95 % t interval."""
    mean, n = float(np.mean(gains)), len(gains)
    half = float(student_t.ppf(0.975, n - 1) * np.std(gains, ddof=1) / n**0.5) if n > 1 else np.inf
    star = " *" if abs(mean) > half else ""
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]{star}"


def line(name: str, rows: list[dict[str, float]]) -> str:
    """Returns a row of the table: gains over linear, and of steps over their control."""
    gains = {arm: [r[arm] - r["linear"] for r in rows] for arm in ARMS if arm in rows[0]}
    gains["contrast"] = [r["steps"] - r["control"] for r in rows]
    order = ("control", "steps", "contrast", "axes", "gold")
    cells = [interval(gains[arm]) if arm in gains else "" for arm in order]
    return f"| {name} | {np.mean([r['linear'] for r in rows]):.1f} | " + " | ".join(cells) + " |"


def shown(found: dict[tuple[str, float, str], list[dict[str, float]]]) -> None:
    """Prints the table: every corpus and budget, then each case over all of them."""
    print("| corpus, labels, case | linear | control | steps | steps less control | axes | gold |")
    print("|---|---|---|---|---|---|---|")
    by_case: dict[str, list[dict[str, float]]] = defaultdict(list)
    for (corpus, budget, case), rows in found.items():
        print(line(f"{corpus}, {budget:g}, {case}", rows))
        by_case[case] += rows if len(rows[0]) > 4 else []
    for case, rows in by_case.items():
        print(line(f"**all with two modalities**, {case}", rows))


def main() -> None:
    """Runs every problem and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--budgets", type=float, nargs="+", default=[20, 50, 0.1])
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA))
    parser.add_argument("--recordings", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found: dict[tuple[str, float, str], list[dict[str, float]]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    for name in args.corpora:
        views, words = CORPORA[name]
        words |= {"pca": None, "views": [p for v in views.parts.values() for p in v]}
        corpus, noisy = (
            load_corpus(name, DatasetConfig(features=str(folder / f"{name}.npz"), **words))
            if folder and (folder / f"{name}.npz").is_file() else None
            for folder in (args.folder, args.recordings)
        )  # fmt: skip
        assert corpus is not None, f"{args.folder} has no {name}.npz"
        for part, test in enumerate(outer_splits(corpus, 3)):
            split = outer(corpus, test, part)
            recorded = None
            if noisy is not None:
                recorded = joined(outer(noisy, test, part).values, views)["speech"]
            seen = set()
            for budget in args.budgets:
                for draw in args.draws:
                    data = dataset_of(corpus, split, budget, draw=draw, folds=5, seed=0)
                    if data is None or (draw, len(data.gold)) in seen:
                        continue  # 10 % may be as many as 20
                    seen.add((draw, len(data.gold)))
                    data = for_trials(viewed(data, views))
                    some = problem(data, args.noise, recorded, "", cpu)
                    if len(data.dims) > 1:
                        few = with_few_pairs(data, 1000 * draw + part)
                        some |= problem(few, args.noise, recorded, "few pairs, ", cpu)
                    for case, by_arm in some.items():
                        found[name, budget, case].append(by_arm)
    shown(dict(sorted(found.items(), key=lambda item: item[0][:2])))
    print(
        "\nCPU seconds of all rounds, mean:",
        {a: round(float(np.mean(s)), 2) for a, s in cpu.items()},
    )


if __name__ == "__main__":
    main()
