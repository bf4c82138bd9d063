"""The commands that train a recipe many times: ablate, benchmark, folds, transfer."""

from __future__ import annotations

from .completion import settings_of_benchmark, settings_of_transfer
from .verbs import Arguments, Parser, Verb, completed_by, say, split, takes_settings


def _ablate_arguments(parser: Parser) -> None:
    takes_settings(parser)
    parser.add_argument("--vary", nargs="+", required=True, metavar="KEY=V1,V2",
                        help="changes to the recipe, one at a time")  # fmt: skip
    parser.add_argument("-o", "--output", help="write the comparison as a table (.csv, .parquet)")


def _ablate(args: Arguments) -> None:
    from .experiments.ablation import ablate

    say(str(ablate(*split(args.words), args.vary, output=args.output)))


def _benchmark_arguments(parser: Parser) -> None:
    takes_settings(parser, settings_of_benchmark)


def _benchmark(args: Arguments) -> None:
    from .experiments.benchmark.benchmark import benchmark
    from .experiments.benchmark.config import load_bench

    folder = benchmark(load_bench(*split(args.words)))
    say((folder / "summary.md").read_text(encoding="utf-8"), f"{folder}: every run in runs.csv")


def _folds(args: Arguments) -> None:
    from .experiments.cross_validation import all_folds

    say(str(all_folds(*split(args.words))))


def _transfer_arguments(parser: Parser) -> None:
    words = parser.add_argument(
        "words", nargs="*", default=[], metavar="transfer.yaml | key=value",
        help="train=a.csv test=b.csv,c.csv (tables or .npz files), labels=map.yaml, settings of "
             "the tables such as encoders.speech.model=..., and all settings of learning",
    )  # fmt: skip
    completed_by(words, settings_of_transfer)


def _transfer(args: Arguments) -> None:
    from .experiments.transfer.config import load_transfer
    from .experiments.transfer.transfer import transfer

    folder = transfer(load_transfer(*split(args.words)))
    say((folder / "summary.md").read_text(encoding="utf-8"), f"{folder}: every run in runs.csv")


EXPERIMENT_VERBS: dict[str, Verb] = {
    "ablate": Verb("train a recipe and single changes to it, and compare them",
                   _ablate_arguments, _ablate, "what is trained stays trained; go on with: {line}"),
    "benchmark": Verb("rules x label budgets x draws x seeds on any corpora, against supervised",
                      _benchmark_arguments, _benchmark, "go on with: {line}"),
    "folds": Verb("train a recipe once for each part held out as test, and score all rows",
                  takes_settings, _folds, "what is trained stays trained; go on with: {line}"),
    "transfer": Verb("train on the labels of one corpus, test on speakers of others",
                     _transfer_arguments, _transfer, "go on with: {line}"),
}  # fmt: skip
