"""The command `semi`: parse, call the function of the same name, print; imports nothing heavy."""
# PYTHON_ARGCOMPLETE_OK: for shells that complete every Python program that says so

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Sequence

from .completion import complete, settings_of_selection
from .data.wording import clipped, nearest
from .data_verbs import DATA_VERBS
from .errors import ManifestError, SemiError, is_full_disk
from .experiment_verbs import EXPERIMENT_VERBS
from .hub_verbs import HUB_VERBS
from .review_verbs import REVIEW_VERBS
from .run_verbs import RUN_VERBS
from .serve_verbs import SERVE_VERBS
from .verbs import (
    Arguments,
    Parser,
    Verb,
    Version,
    completed_by,
    how_to_go_on,
    import_torch,
    is_user_error,
    quiet_writers,
    sentence_of,
)
from .verbs import say as _say
from .verbs import split as _split
from .verbs import takes_moved_run as _takes_moved_run
from .verbs import takes_places as _takes_places
from .verbs import takes_run as _takes_run
from .verbs import takes_settings as _takes_settings
from .vote_verbs import VOTE_VERBS


def _config(args: Arguments):
    from .config.schema import load_config

    return load_config(*_split(args.words))


def _check_arguments(parser: Parser) -> None:
    _takes_settings(parser)
    parser.add_argument("--settings", action="store_true",
                        help="print every setting too, as YAML that reads back")  # fmt: skip


def _check(args: Arguments) -> None:
    from .runs.check import check

    checked = check(*_split(args.words))
    _say(checked.with_settings() if args.settings else str(checked))


def _extract(args: Arguments) -> None:
    from .config.recipes import with_open_layers
    from .evaluation.text import extraction_words
    from .features.extract import extract

    _say(*extraction_words(extract(with_open_layers(_config(args)))))


def _train_arguments(parser: Parser) -> None:
    _takes_settings(parser)
    parser.add_argument("--resume", action="store_true", help="go on where the run was interrupted")


def _train(args: Arguments) -> None:
    from .evaluation.text import run_words
    from .self_training.train import self_train

    config = _config(args)
    self_train(config, resume=args.resume)
    _say(run_words(config.path))


def _evaluate_arguments(parser: Parser) -> None:
    _takes_run(parser)
    _takes_places(parser)
    parser.add_argument("--split", default="test", choices=["test", "dev", "oof"],
                        help="gold rows to score on: held-out test (default), dev, or out-of-fold "
                             "training rows")  # fmt: skip
    parser.add_argument("--reviews", action="append", default=[], metavar="FILE",
                        help="score the held-out rows that people labelled in this file of semi "
                             "review, by their words")  # fmt: skip
    parser.add_argument("--by", default="", metavar="COLUMN,COLUMN",
                        help="score each group and test it against the rest: speaker, sex or any "
                             "column; duration and snr are measured")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="also write the table of --by (.csv, .parquet, .jsonl)")  # fmt: skip


def _evaluate(args: Arguments) -> None:
    from .evaluation.reviewed_precision import precision_sentence
    from .runs.evaluate import evaluate

    if args.by or args.output:
        _say(str(_evaluate_by(args)))
        return
    _say(str(evaluate(args.run, split=args.split, places=args.words, reviews=args.reviews)))
    if stated := precision_sentence(args.run):
        _say("", stated)


def _evaluate_by(args: Arguments):
    from .runs.evaluate_by import evaluate_by

    if not args.by:
        raise SemiError("-o is for the table of --by; say by what, as in --by speaker,sex")
    if args.reviews:
        raise SemiError(
            "--by scores by the labels of the table, --reviews by people's words; give one of them"
        )
    return evaluate_by(
        args.run, args.by.split(","), args.split, places=args.words, output=args.output
    )


def _predict_arguments(parser: Parser) -> None:
    _takes_run(parser)
    parser.add_argument("audio", nargs="*", default=[],
                        help="audio files; with --manifest engine=ray or processes=4")  # fmt: skip
    parser.add_argument("--text", action="append", default=[], metavar="TEXT",
                        help="what was said; once per audio file, in the same order, or alone"
                        )  # fmt: skip
    parser.add_argument("--manifest", help="a table of utterances instead of files")
    parser.add_argument("--arrays", action="append", default=[], metavar="MODALITY=FILE",
                        help="where the arrays of these utterances are")  # fmt: skip
    parser.add_argument("--windows", type=float, metavar="SECONDS",
                        help="label long recordings piece by piece: start, end, label")  # fmt: skip
    parser.add_argument("--hop", type=float, metavar="SECONDS",
                        help="from one window to the next; default: half a window")  # fmt: skip
    parser.add_argument("-o", "--output", help="write a table (.csv, .parquet)")


def _predict(args: Arguments) -> None:
    from .config.engine import engine_of
    from .runs.predict import predict

    engine, files = engine_of(args.audio)
    _say(predict(args.run, files, args.text, manifest=args.manifest, arrays=args.arrays,
                 output=args.output, windows=args.windows, hop=args.hop,
                 engine=engine))  # fmt: skip


def _report(args: Arguments) -> None:
    from .self_training.report import report

    _say(str(report(args.run, args.words)))


def _finetune(args: Arguments) -> None:
    from .training.finetune.finetune import finetune

    _say(str(finetune(_config(args), resume=args.resume)))


def _select_arguments(parser: Parser) -> None:
    _takes_run(parser)
    words = parser.add_argument("words", nargs="*", default=[], metavar="key=value",
                                help="settings of the selection, such as rule=margin")  # fmt: skip
    completed_by(words, settings_of_selection)
    parser.add_argument("--dry-run", action="store_true",
                        help="show what would be added; nothing is ever added here")  # fmt: skip


def _select(args: Arguments) -> None:
    from .runs.preview import dry_run

    if not args.dry_run:
        raise SemiError(
            "semi select only looks: add --dry-run; to train with a rule, "
            "semi train ... select.rule=..."
        )
    _say(str(dry_run(args.run, args.words)))


VERBS: dict[str, Verb] = {
    "manifest": DATA_VERBS["manifest"],
    "check": Verb("check settings and manifest, every problem at once; train nothing",
                  _check_arguments, _check),
    "extract": Verb("fill the feature store",
                    _takes_settings, _extract, "what is stored stays stored; go on with: {line}"),
    "train": Verb("warm start and rounds of self-training -> runs/<name>/",
                  _train_arguments, _train, "resume with: {line} --resume"),
    "evaluate": Verb("score a run on gold held-out rows", _evaluate_arguments, _evaluate),
    "predict": Verb("label audio files, texts or a manifest with a run's model",
                    _predict_arguments, _predict),
    "select": Verb("show what a rule would add to a run, and how right that should be",
                   _select_arguments, _select),
    "benchmark": EXPERIMENT_VERBS["benchmark"],
    "report": Verb("rebuild a run's report.html from its files", _takes_moved_run, _report),
    "convert": DATA_VERBS["convert"],
    "finetune": Verb("adapt the encoders to the gold training rows",
                     _train_arguments, _finetune, "resume with: {line} --resume"),
    **REVIEW_VERBS,
    **RUN_VERBS,
    **EXPERIMENT_VERBS,
    **HUB_VERBS,
    **SERVE_VERBS,
    **VOTE_VERBS,
}  # fmt: skip


# --- the frame around them ------------------------------------------------------------------------


def build_parser() -> Parser:
    """Returns the parser of all verbs."""
    debug = Parser(add_help=False)
    debug.add_argument("--debug", action="store_true", default=argparse.SUPPRESS,
                       help="show where an error came from")  # fmt: skip
    parser = Parser(
        prog="semi", parents=[debug],
        description="Labelled and unlabelled talk goes in; an audited, calibrated emotion model "
                    "comes out.",
        epilog="semi VERB --help tells more. Python does the same under the same names: "
               "semi.extract, semi.self_train, semi.evaluate, semi.load.",
    )  # fmt: skip
    parser.add_argument("--version", action=Version, nargs=0,
                        help="print the versions of semi, Python and torch")  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, help=verb.help, description=verb.help, parents=[debug])
        verb.add_arguments(one)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 1 unexpected, 2 user error, 130 Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # Idle OpenMP threads sleep instead of spinning: on a shared machine two spinning threads made
    # training 15 times slower. Must be said before torch is imported; a user's own choice wins.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a label may be in letters the terminal lacks
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    args = parse_arguments(argv)
    verb = VERBS[args.verb]
    threading.excepthook = quiet_writers
    try:
        if args.verb != "manifest":  # every other verb needs it
            import_torch()
        verb.run(args)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        print(f"\ninterrupted{how_to_go_on(verb, argv)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if getattr(args, "debug", False):
            traceback.print_exc()
        ours = is_user_error(error)
        if isinstance(error, ManifestError) and error.reading is not None:
            print(clipped(str(error.reading)), file=sys.stderr)
        again = how_to_go_on(verb, argv) if is_full_disk(error) else ""
        print(f"semi: error: {clipped(sentence_of(error, ours))}{again}", file=sys.stderr)
        return 2 if ours else 1


def parse_arguments(argv: list[str]) -> Arguments:
    """Returns the arguments of a command line; SystemExit after a sentence where it is none."""
    parser = build_parser()
    complete(parser)
    if argv and not argv[0].startswith("-") and argv[0] not in VERBS:
        known = ", ".join(VERBS)
        parser.error(f"no such verb '{argv[0]}'{nearest(argv[0], VERBS)}; verbs are {known}")
    args, rest = parser.parse_known_args(argv)
    words = vars(args).get("words", vars(args).get("audio"))
    for word in rest:  # a setting may follow an option; argparse alone would refuse it
        plain = word.lstrip("-")
        if words is not None and not word.startswith("-"):
            words.append(word)
        elif hasattr(args, "words") and "=" in plain:
            parser.error(f"settings are written without dashes: {plain}")
        else:
            parser.error(f"'{word}' is not an option of semi {args.verb}; see semi {args.verb} -h")
    return args
