"""The commands on finished runs and on recipes: ensemble, compare, ablate, submit, demo, ..."""

from __future__ import annotations

from .completion import settings_and_recipes
from .errors import SemiError
from .shipped import shipped
from .verbs import (
    Arguments,
    Parser,
    Verb,
    completed_by,
    port_number,
    say,
    split,
    takes_places,
    takes_run,
    takes_settings,
)


def _takes_runs(parser: Parser, what: str) -> None:
    parser.add_argument("runs", nargs="+", help=what)


def _ensemble_arguments(parser: Parser) -> None:
    _takes_runs(parser, "finished runs on one manifest with the same splits; after the first one "
                        "also ensembles and probabilities as .npz, .csv")  # fmt: skip
    parser.add_argument("--weights", default="fitted", metavar="fitted|uniform|0.6,0.4",
                        help="fitted on gold out-of-fold and shrunk to equal (default), equal, or "
                             "one number a member")  # fmt: skip
    parser.add_argument("-o", "--output", default="ensemble", metavar="NAME",
                        help="folder beside the first run; default: ensemble")  # fmt: skip


def _ensemble(args: Arguments) -> None:
    from .runs.ensemble import ensemble

    weights = args.weights
    if weights not in ("fitted", "uniform"):
        try:
            weights = [float(w) for w in weights.split(",")]
        except ValueError:
            raise SemiError(
                f"--weights must be fitted, uniform or numbers such as 0.6,0.4; got '{weights}'"
            ) from None
    say(str(ensemble(args.runs, weights=weights, output=args.output)))


def _compare_arguments(parser: Parser) -> None:
    _takes_runs(parser, "folders; what is no finished run or ensemble is skipped and named")
    parser.add_argument("--paired", action="store_true",
                        help="test every run against the first on the same test rows")  # fmt: skip
    parser.add_argument("--metric", default="",
                        help="of the p-value: macro_f1 (default), waf, uar, accuracy; micro_f1, "
                             "sample_f1 of several labels; ccc of valence and arousal")  # fmt: skip
    parser.add_argument("--by", default="", metavar="COLUMN",
                        help="also score each value of a column of the manifest, such as source "
                             "(the corpus) or speaker")  # fmt: skip
    parser.add_argument("--no-latency", action="store_true", help="measure no time")
    parser.add_argument("-o", "--output", help="write every column as a table (.csv, .parquet)")


def _compare(args: Arguments) -> None:
    from .runs.compare import compare

    say(str(compare(args.runs, paired=args.paired, output=args.output, metric=args.metric,
                    latency=not args.no_latency, by=args.by)))  # fmt: skip


def _submit_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_places(parser)
    parser.add_argument("--manifest", help="rows to label; default: the test rows of the run")
    parser.add_argument("-o", "--output", default="submission.csv",
                        help="default: submission.csv")  # fmt: skip


def _submit(args: Arguments) -> None:
    from .runs.submit import submit

    say(str(submit(args.run, args.output, manifest=args.manifest, progress=True,
                   places=args.words)))  # fmt: skip


def _distill_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_settings(parser)
    parser.add_argument("--resume", action="store_true", help="go on where it was interrupted")


def _distill(args: Arguments) -> None:
    from .config.paths import PLACE_SETTINGS
    from .config.schema import load_config
    from .evaluation.text import run_words
    from .runs.distill import distill
    from .self_training.run_dir import Run

    path, words = split(args.words)
    places = [w for w in words if w.partition("=")[0] in PLACE_SETTINGS]
    # a student's YAML need not name the data: they are its teacher's
    data = Run.open(args.run, places).config.data
    given = [f"data.manifest={data.manifest}", f"data.audio_root={data.audio_root}"]
    config = load_config(path, [*(w for w in words if w not in places or "store" in w), *given])
    say(run_words(distill(args.run, config, resume=args.resume).path))


def _verify_arguments(parser: Parser) -> None:
    parser.add_argument(
        "folder",
        help="a run, a model folder, a feature store, or what ensemble, folds, "
        "finetune, search, benchmark, transfer or prune-report wrote",
    )


def _verify(args: Arguments) -> None:
    from .runs.verify import verify

    done = verify(args.folder)
    say(str(done))
    if done.problems:
        count = len(done.problems)
        raise SemiError(
            f"{done.path}: {count} {'thing is' if count == 1 else 'things are'} not as written; "
            "bring what is damaged or missing back from a copy, and take out what was added"
        )


def _search_arguments(parser: Parser) -> None:
    recipe = parser.add_argument("recipe", help="a recipe that comes with semi, or a YAML file")
    completed_by(recipe, settings_and_recipes)
    parser.add_argument("space", help="YAML file of what may vary: 'model.hidden: [64, 128]', "
                                      "'train.lr: {low: 1e-4, high: 1e-2, log: true}'")  # fmt: skip
    parser.add_argument("words", nargs="*", default=[], metavar="key=value",
                        help="settings of every trial")  # fmt: skip
    parser.add_argument("--trials", type=int, default=20, help="in all; default 20")
    parser.add_argument("--sampler", default="tpe", choices=["tpe", "random"])
    parser.add_argument("--batch", type=int, default=8,
                        help="trials drawn at a time; those that differ in rates, decay or "
                             "smoothing alone are trained as one program (default 8)")  # fmt: skip


def _search(args: Arguments) -> None:
    from .experiments.search.search import search

    say(str(search(args.recipe, args.space, args.words, trials=args.trials,
                   sampler=args.sampler, batch=args.batch)))  # fmt: skip


def _prune_report_arguments(parser: Parser) -> None:
    takes_settings(parser)
    parser.add_argument("--utterances", type=int, default=500, help="sample size, default 500")
    parser.add_argument("--methods", nargs="+", default=["merge", "topk_merge", "stride"],
                        help="of token pruning; default merge topk_merge stride")  # fmt: skip
    parser.add_argument("--keep", nargs="+", type=float, default=[0.7, 0.5],
                        help="keep rates; default 0.7 0.5")  # fmt: skip
    parser.add_argument("--layers", nargs="+", type=int, default=[],
                        help="pruning layers, 0-based; default L/4 and L/2")  # fmt: skip


def _prune_report(args: Arguments) -> None:
    from .config.schema import load_config
    from .experiments.pruning.report import prune_report

    report = prune_report(
        load_config(*split(args.words)), utterances=args.utterances, methods=args.methods,
        keep_rates=args.keep, layers=args.layers,
    )  # fmt: skip
    say(str(report))


def _demo_arguments(parser: Parser) -> None:
    words = parser.add_argument("words", nargs="*", default=[], metavar="key=value",
                                help="settings that win over those of recipe demo")  # fmt: skip
    completed_by(words, settings_and_recipes)


def _demo(args: Arguments) -> None:
    """Trains recipe demo afresh on the bundled real speech; replaces an earlier demo."""
    from .config.schema import load_config
    from .data.corpora import bundled_emodb
    from .evaluation.text import run_words
    from .self_training.run_dir import Run
    from .self_training.train import self_train

    recipe = shipped("configs/demo.yaml")
    config = load_config(recipe, [f"data.manifest={bundled_emodb()}", *args.words])
    Run.remove(config.path)
    self_train(config)
    say(run_words(config.path))


def _review_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_places(parser)
    parser.add_argument("--port", type=port_number, default=8765,
                        help="on 127.0.0.1; default 8765, or another that is free")  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--reviewer", default="", metavar="NAME", help="who reviews; else asked")
    parser.add_argument("--static", metavar="FILE",
                        help="write the page as one file, for who has no semi")  # fmt: skip
    parser.add_argument("--export", nargs=2, metavar=("csv|label-studio", "FILE"),
                        help="write the rows for people to label elsewhere")  # fmt: skip
    parser.add_argument("--rows", default="", metavar="FILE",
                        help="with --export: the rows of this list, such as RUN/next.csv; else the "
                             "pool, most worth a word first")  # fmt: skip
    parser.add_argument("-n", "--count", type=int, metavar="N",
                        help="with --export: the first N rows")  # fmt: skip
    parser.add_argument("--all", action="store_true", dest="again",
                        help="with --export or --static: also rows that --reviewer has judged, or "
                             "without one anybody")  # fmt: skip
    parser.add_argument("--import", dest="imported", metavar="FILE",
                        help="add what people said elsewhere: that CSV filled in, a reviews.csv, "
                             "or an export of Label Studio")  # fmt: skip
    parser.add_argument("--precision", action="store_true",
                        help="how many pseudo-labels are right, by reviews of random "
                             "rows")  # fmt: skip


def _review(args: Arguments) -> None:
    if args.export or args.imported or args.precision:
        from .review.round_trip import round_trip

        say(*round_trip(args.run, export=args.export, rows=args.rows, count=args.count,
                        again=args.again, imported=args.imported, reviewer=args.reviewer,
                        places=args.words, precision=args.precision))  # fmt: skip
        return
    if args.static:
        from .review.static_page import write_static

        say(str(write_static(args.run, args.static, reviewer=args.reviewer, again=args.again,
                             places=args.words)))  # fmt: skip
        return
    from .review.serve import serve

    say(serve(args.run, port=args.port, browser=not args.no_browser, reviewer=args.reviewer,
              places=args.words))  # fmt: skip


RUN_VERBS: dict[str, Verb] = {
    "ensemble": Verb("mix finished runs into one vote, with weights given or fitted",
                     _ensemble_arguments, _ensemble),
    "compare": Verb("one table over finished runs: protocol, scores, size, speed, significance",
                    _compare_arguments, _compare),
    "submit": Verb("write name,discrete of every test utterance for a challenge",
                   _submit_arguments, _submit),
    "distill": Verb("train a student on gold and on what a finished run says of all rows",
                    _distill_arguments, _distill, "resume with: {line} --resume"),
    "verify": Verb("check that every file of a run, model or feature store is as it was written",
                   _verify_arguments, _verify),
    "search": Verb("try settings of the warm start on gold out-of-fold rows (needs Optuna)",
                   _search_arguments, _search, "finished trials stay; go on with: {line}"),
    "prune-report": Verb("what token pruning would cost and bring on your own audio",
                         _prune_report_arguments, _prune_report),
    "review": Verb("listen to what a run learned and correct it, on a page of this machine",
                   _review_arguments, _review),
    "demo": Verb("train on the bundled real speech, offline, on the CPU",
                 _demo_arguments, _demo, "start again with: {line}"),
}  # fmt: skip
