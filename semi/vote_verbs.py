"""The command that asks a model outside of semi: vote."""

from __future__ import annotations

from .verbs import Arguments, Parser, Verb, say


def _vote_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("table", help="table of utterances, or a YAML file of settings that names it")
    add("words", nargs="*", default=[], metavar="key=value",
        help="settings of the data, such as data.classes=[joy,anger] or 'data.columns={text: "
             "said}'")  # fmt: skip
    add("--endpoint", required=True, metavar="URL",
        help="API that speaks OpenAI's chat protocol (vLLM, Ollama, llama.cpp), such as "
             "http://127.0.0.1:8000/v1")  # fmt: skip
    add("--model", required=True, metavar="NAME", help="the model, as the server calls it")
    add("-o", "--output", default="votes.parquet", metavar="FILE",
        help=".parquet or .csv; default: votes.parquet")  # fmt: skip
    add("--context", type=int, default=0, metavar="N",
        help="turns of the same dialogue shown before each text; default: 0")  # fmt: skip
    add("--order", default="", metavar="COLUMN",
        help="numbers that order a dialogue; default: start, else the table's rows")  # fmt: skip
    add("--prompt", default="", metavar="FILE",
        help="your own question, a Jinja template with {{ text }}")  # fmt: skip
    add("--name", action="append", default=[], metavar="LABEL=WORDS",
        help="what the model is shown for a label, such as ang=anger")  # fmt: skip
    add("--answers", default="auto", metavar="auto|logprobs|json|samples",
        help="how probabilities are had: of the first token, as a JSON object, by counting; "
             "default: the first that works")  # fmt: skip
    add("--samples", type=int, default=5, metavar="N", help="with --answers samples; default: 5")
    add("--request", default="", metavar="JSON",
        help="more fields of each request, such as '{\"max_tokens\": 1000}'; null takes one "
             "out")  # fmt: skip
    add("--parallel", type=int, default=4, metavar="N", help="questions at once; default: 4")
    add("--rate", type=float, default=0.0, metavar="N", help="requests a minute; default: no limit")
    add("--retries", type=int, default=5, metavar="N",
        help="tries more after 429, 5xx or silence; default: 5")  # fmt: skip
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="for a reply; default: 60")
    add("--cache", default="vote_cache.sqlite", metavar="FILE",
        help="what was answered, by content: nothing is asked twice; default: "
             "vote_cache.sqlite")  # fmt: skip
    add("--key-env", default="SEMI_VOTE_KEY", metavar="VARIABLE",
        help="environment variable with the server's key; default: SEMI_VOTE_KEY")  # fmt: skip


def _vote(args: Arguments) -> None:
    from .outside.settings import VoteSettings, request_fields, spoken_pairs
    from .outside.vote import vote

    settings = VoteSettings(
        args.endpoint, args.model, prompt=args.prompt, names=spoken_pairs(args.name),
        context=args.context, order=args.order, answers=args.answers, samples=args.samples,
        request=request_fields(args.request), parallel=args.parallel, per_minute=args.rate,
        retries=args.retries, timeout=args.timeout, cache=args.cache, key_env=args.key_env,
    )  # fmt: skip
    say(str(vote(args.table, settings, args.output, args.words)))


VOTE_VERBS: dict[str, Verb] = {
    "vote": Verb("ask a language model for class probabilities of a table's texts",
                 _vote_arguments, _vote, "what is answered is kept; go on with: {line}"),
}  # fmt: skip
