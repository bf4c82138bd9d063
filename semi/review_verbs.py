"""The commands by which people work on a run: next, suspects."""

from __future__ import annotations

from .verbs import Arguments, Parser, Verb, say, takes_places, takes_run


def _takes_rule_and_output(parser: Parser, name: str, how: str) -> None:
    parser.add_argument("--rule", default="", metavar="RULE",
                        help=f"{how}; a wrong one lists them all")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE",
                        help=f"write the list there, too (.csv, .parquet); RUN/{name}.csv always "
                             "is for semi review")  # fmt: skip


def _next_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_places(parser)
    parser.add_argument("-n", "--count", type=float, default=50, metavar="N",
                        help="rows to label, or seconds of sound with --cost seconds; "
                             "default: 50")  # fmt: skip
    parser.add_argument("--cost", default="rows", metavar="rows|seconds",
                        help="what -n counts, and what a row's worth is divided by; default: "
                             "rows")  # fmt: skip
    parser.add_argument("--per-speaker", type=int, metavar="K",
                        help="at most K rows of a speaker; default: its share of the "
                             "batch, under other rules twice that")  # fmt: skip
    _takes_rule_and_output(parser, "next", "how rows are chosen; default: stratified")


def _next(args: Arguments) -> None:
    from .review.next_rows import NEXT_RULE, next_rows

    say(str(next_rows(args.run, args.count, rule=args.rule or NEXT_RULE, cost=args.cost,
                      per_speaker=args.per_speaker, output=args.output,
                      places=args.words)))  # fmt: skip


def _suspects_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_places(parser)
    parser.add_argument("-n", "--count", type=int, default=30, metavar="N",
                        help="rows at most; default: 30")  # fmt: skip
    _takes_rule_and_output(parser, "suspects", "how rows are ranked; default: normalized_margin")


def _suspects(args: Arguments) -> None:
    from .review.suspects import SUSPECTS_RULE, suspects

    say(str(suspects(args.run, args.count, rule=args.rule or SUSPECTS_RULE, output=args.output,
                     places=args.words)))  # fmt: skip


REVIEW_VERBS: dict[str, Verb] = {
    "next": Verb("list the unlabelled rows of a run that are most worth a label, with reasons",
                 _next_arguments, _next),
    "suspects": Verb("list the labelled rows of a run whose label looks wrong, with reasons",
                     _suspects_arguments, _suspects),
}  # fmt: skip
