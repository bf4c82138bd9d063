"""Every recipe of the five systems, whole, on trees in the formats of their corpora; compared.

usage: python benchmarks/recipes.py WORK [--speech acoustic|FOLDER] [--layers 3] [--only etri,lmr]
                                    [--light]

Makes the trees (benchmarks/corpus_trees.py: real speech of Emo-DB; what is invented stands there),
reads them with `semi manifest`, trains each recipe by the commands of its own head, and writes what
`semi compare` says into WORK/compare-<system>.txt and .csv. Finished runs are not trained again.
Nothing of a recipe is changed but the encoders, which must be had offline, and the published splits
where the little trees cannot have them: whole sessions are held out instead. --light trains one
member on three out-of-fold parts in place of three on five. The text says nothing of the emotion
here, and neither do the biosignals: recipes that see only them must be at chance.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from corpus_trees import build

from semi.cli import main

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ETRI = {"class": "micro_f1", "affect": "ccc", "total": "macro_f1"}
VIEWS = ("concat", "add", "speech", "text")
STILL = ("multimodal", "text", "speech")
EMO = ("speech", "reversed", "text30", "text50", "text70")


class Bench:
    """Where everything lies, and the encoders that stand in for those without weights here."""

    def __init__(self, work: Path, speech: str, layers: str, light: bool) -> None:
        self.work, self.runs = work, work / "runs"
        self.speech = [f"encoders.speech.model={speech}", f"encoders.speech.layers={layers}"]
        self.text = ["encoders.text.model=char-ngram", "encoders.text.pooling=mean"]
        self.common = [f"runs_dir={self.runs}", f"features.store={work / 'store'}",
                       "tracking=false", "threads=1"]  # fmt: skip
        self.common += ["train.members=1", "train.folds=3"] * light

    def manifest(self, corpus: str, tree: str, output: str, *options: str) -> None:
        """Runs `semi manifest`."""
        path = self.work / output
        if not path.is_file():
            semi("manifest", corpus, str(self.work / "trees" / tree), "-o", str(path), *options)

    def words(self, recipe: str, manifest: str) -> list[str]:
        """Returns the settings of a recipe: where its data are, and encoders that it can have."""
        whole = (CONFIGS / f"{recipe}.yaml").read_text(encoding="utf-8")
        speech = [] if "speech:\n    model: none" in whole else self.speech
        text = [] if "text:\n    model: none" in whole else self.text
        return [*self.common, f"data.manifest={self.work / manifest}", *speech, *text]

    def train(self, verb: str, recipe: str, manifest: str, *words: str, name: str = "") -> None:
        """Trains a recipe, or goes on with it; `verb` is train or folds."""
        name = name or recipe
        if (self.runs / name / "result.json").is_file() and verb == "train":
            return
        given = [*self.words(recipe, manifest), f"name={name}", *words]
        more = ["--resume"] if verb == "train" and (self.runs / name).is_dir() else []
        semi(verb, str(CONFIGS / f"{recipe}.yaml"), *given, *more)

    def compare(self, system: str, *names: str, metric: str = "", paired: bool = True) -> None:
        """Writes the table of some runs."""
        out = self.work / f"compare-{system}"
        words = [str(self.runs / n) for n in names] + ["-o", f"{out}.csv"]
        words += ["--paired"] * paired + ["--metric", metric] * bool(metric)
        with open(f"{out}.txt", "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            semi("compare", *words)


def semi(*words: str) -> None:
    """Runs a command as its user would."""
    begin = time.monotonic()
    code = main(list(words))
    if code:
        raise SystemExit(f"semi {' '.join(words)} ended with {code}")
    with contextlib.suppress(ValueError):
        os.write(2, f"[{time.monotonic() - begin:.0f} s] semi {' '.join(words[:2])}\n".encode())


def etri(bench: Bench) -> list[str]:
    """001: twelve recipes, each with every pair of speakers held out in turn."""
    bench.manifest("kemdy20", "kemdy20", "kemdy20.csv", f"biosignals={bench.work / 'bio'}")
    split = ["data.fold_method=grouped", "data.group=session", "data.allow_leaks=[text]"]
    names = []
    for task, metric in ETRI.items():
        for view in VIEWS:
            bench.train("folds", f"etri_{view}_{task}", "kemdy20.csv", *split)
        names += (mine := [f"etri_{view}_{task}" for view in VIEWS])
        bench.compare(f"etri_{task}", *mine, metric=metric)
    return names


def lmr(bench: Bench) -> list[str]:
    """000: three sessions learn, one of the published test sessions is held out."""
    bench.manifest("kemdy20", "kemdy20", "kemdy20.csv", f"biosignals={bench.work / 'bio'}")
    signals = [f"encoders.extra.{name}.path={bench.work / 'bio' / name}.npz"
               for name in ("eda", "temp", "ibi")]  # fmt: skip
    split = ["data.test_groups=[Sess04,Sess10,Sess15]", *signals]
    changes = {"": [], "-no_contrast": ["contrast.intra=0", "contrast.inter=0"],
               "-no_auxiliary": ["model.auxiliary_weight=0"],
               "-no_bio": ["encoders.extra={}"]}  # fmt: skip
    for change, words in changes.items():
        bench.train("train", "lmr_cl", "kemdy20.csv", *split, *words, name=f"lmr_cl{change}")
    names = [f"lmr_cl{change}" for change in changes]
    bench.compare("lmr", *names)
    return names


def still(bench: Bench) -> list[str]:
    """004: a teacher on the votes of ten and twenty raters, and its three students."""
    bench.manifest("kemdy20", "kemdy20_part", "part.csv")
    bench.manifest("kemdy19", "kemdy19_part", "both.csv", f"add={bench.work / 'part.csv'}",
                   "ratings=merged")  # fmt: skip
    split = ["data.test_fraction=0.4"]  # two sessions of five
    bench.train("train", "multi_still_teacher", "both.csv", *split)
    teacher = bench.runs / "multi_still_teacher"
    for view in STILL:
        recipe = f"multi_still_{view}"
        if not (bench.runs / recipe / "result.json").is_file():
            more = ["--resume"] if (bench.runs / recipe).is_dir() else []
            semi("distill", str(teacher), str(CONFIGS / f"{recipe}.yaml"),
                 *bench.words(recipe, "both.csv"), *more)  # fmt: skip
    names = ["multi_still_teacher", *(f"multi_still_{view}" for view in STILL)]
    bench.compare("multi_still", *names)
    return names


def emo(bench: Bench) -> list[str]:
    """003: five members and their fitted vote, on sessions of KEMDy20 that stand for all."""
    bench.manifest("kemdy20", "kemdy20_part", "part.csv")
    bench.manifest("aihub", "aihub_part", "emo.csv", f"add={bench.work / 'part.csv'}")
    split = ["data.test_groups=[Sess10]"]
    for view in EMO:
        bench.train("train", f"emo_ensemble_{view}", "emo.csv", *split)
    members = [f"emo_ensemble_{view}" for view in EMO]
    paths = [str(bench.runs / name) for name in members]
    semi("ensemble", *paths, "--weights", "fitted", "-o", "emo_ensemble")
    semi("ensemble", *paths, "--weights", "0.25,0.25,0.1667,0.1667,0.1666", "-o",
         "emo_ensemble-published_weights")  # fmt: skip
    names = ["emo_ensemble", "emo_ensemble-published_weights", *members]
    bench.compare("emo_ensemble", *names)
    return names


def mer(bench: Bench) -> list[str]:
    """002: the recipe and its published ablation, and the submission."""
    bench.manifest("mer2024", "mer2024", "mer.csv", f"frames={bench.work / 'stacked'}")
    views = ["encoders.speech.model=precomputed", "encoders.speech.column=acoustic-UTT",
             "encoders.speech.layers=[]", "encoders.text.model=precomputed",
             "encoders.text.column=char-ngram-UTT",
             "data.classes=[neutral,angry,happy,sad,worried]",
             "encoders.extra.video.column=acoustic-FRA", "data.allow_leaks=[text]",
             "select.per_class={}", "select.per_class={worried: 0.85}"]  # fmt: skip
    changes = {"": [], "-no_pretraining": ["contrast.pretrain_steps=0"],
               "-no_pseudo_labels": ["rounds.max_rounds=0"],
               "-no_oversampling": ["train.imbalance=none"],
               "-soft_allocation": ["select.rule=soft_allocation"]}  # fmt: skip
    for change, words in changes.items():
        bench.train("train", "mer2024_semi", "mer.csv", *views, *words,
                    name=f"mer2024_semi{change}")  # fmt: skip
    run = bench.runs / "mer2024_semi"
    semi("submit", str(run), "-o", str(bench.work / "submission.csv"))
    names = [f"mer2024_semi{change}" for change in changes]
    bench.compare("mer2024", *names, metric="waf")
    return names


SYSTEMS = {"lmr": lmr, "etri": etri, "mer": mer, "emo": emo, "still": still}


def run() -> None:
    """Trains what is asked for and compares it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("work", type=Path)
    parser.add_argument("--speech", default="acoustic")
    parser.add_argument("--layers", default="[]")
    parser.add_argument("--only", default=",".join(SYSTEMS))
    parser.add_argument("--light", action="store_true")
    args = parser.parse_args()
    build(args.work / "trees")
    bench = Bench(args.work, args.speech, args.layers, args.light)
    names = [n for system in args.only.split(",") for n in SYSTEMS[system](bench)]
    bench.compare("all", *names, paired=False)


if __name__ == "__main__":
    run()
