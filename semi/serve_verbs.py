"""The command that puts a run on the network: serve."""

from __future__ import annotations

from .verbs import Arguments, Parser, Verb, port_number, say, takes_run


def _serve_arguments(parser: Parser) -> None:
    takes_run(parser)
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen at; default: this machine alone")  # fmt: skip
    parser.add_argument("--port", type=port_number, default=8000, help="default: 8000; 0 = any")
    parser.add_argument("--token", default="",
                        help="what requests must bring (Authorization: Bearer TOKEN); else "
                             "SEMI_SERVE_TOKEN of the environment")  # fmt: skip
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                        help="a further name that it may be called by without a token, such as "
                             "a proxy's; may be given several times")  # fmt: skip
    parser.add_argument("--queue", type=int, default=64, metavar="N",
                        help="utterances that may wait; more are refused with 429; default: "
                             "64")  # fmt: skip
    parser.add_argument("--max-mb", type=float, default=32.0, metavar="MB",
                        help="largest request in megabytes; default: 32")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS",
                        help="until an utterance must be labelled; default: 30")  # fmt: skip


def _serve(args: Arguments) -> None:
    from .serving.serve import serve

    say(serve(args.run, host=args.host, port=args.port, token=args.token, queue=args.queue,
              most_mb=args.max_mb, seconds=args.timeout, names=args.allow_host))  # fmt: skip


SERVE_VERBS: dict[str, Verb] = {
    "serve": Verb("label sounds and texts by a run over HTTP, until Ctrl-C",
                  _serve_arguments, _serve),
}  # fmt: skip
