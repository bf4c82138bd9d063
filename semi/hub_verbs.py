"""The commands that give a run to others: export to a file, push to the hub, its card."""

from __future__ import annotations

from .errors import SemiError
from .verbs import Arguments, Parser, Verb, say, takes_places, takes_run


def _export_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_places(parser)
    parser.add_argument("-o", "--output", required=True,
                        help="model.pt2 (torch.export) or model.onnx: features in, probabilities "
                             "out; probs.npz or probs.csv: what it says of every row; a folder, "
                             "with --dataset")  # fmt: skip
    parser.add_argument("--dataset", action="store_true",
                        help="the ledger as a data set of Hugging Face datasets")  # fmt: skip
    parser.add_argument("--sounds", action="store_true",
                        help="with --dataset: one row an utterance, of the last round, with its "
                             "sound")  # fmt: skip


def _export(args: Arguments) -> None:
    if args.sounds and not args.dataset:
        raise SemiError(
            "--sounds goes with --dataset: semi export RUN -o FOLDER --dataset --sounds"
        )
    if args.words and not args.sounds:
        raise SemiError(
            f"{args.words[0]}: semi export reads no data but with --dataset --sounds; leave it out"
        )
    if args.dataset:
        from .runs.run_datasets import write_ledger_dataset

        rows = write_ledger_dataset(
            args.run, args.output, sounds=args.sounds, places=args.words
        )  # fmt: skip
        say(f"{args.output}: {rows:,} rows of the ledger; datasets.load_dataset({args.output!r})")
        return
    from .runs.export import export

    say(str(export(args.run, args.output)))


def _takes_words(parser: Parser) -> None:
    """Adds what a run cannot know of itself."""
    parser.add_argument("--license", default="", metavar="LICENCE",
                        help="of the model, as the hub writes it: apache-2.0, cc-by-4.0, "
                             "other ...")  # fmt: skip
    parser.add_argument("--dataset", default="", metavar="ORG/NAME",
                        help="data set on the hub that it was trained on")  # fmt: skip
    parser.add_argument("--language", action="append", default=[], metavar="CODE",
                        help="ISO 639, such as de; default: the table's column "
                             "language")  # fmt: skip


def _words(args: Arguments):
    from .runs.card_metadata import CardWords

    return CardWords(args.license, args.dataset, args.language)


def _push_arguments(parser: Parser) -> None:
    takes_run(parser)
    parser.add_argument("name", help="org/name on the Hugging Face hub")
    takes_places(parser)
    parser.add_argument("--public", action="store_true",
                        help="if the repository is made now: everybody may see it; default: "
                             "private")  # fmt: skip
    _takes_words(parser)
    parser.add_argument("--card", default="", metavar="FILE",
                        help="your own README.md; default: made from the run")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true",
                        help="also where the repository holds something else than a model of "
                             "semi")  # fmt: skip
    parser.add_argument("--dry-run", default="", metavar="FOLDER",
                        help="write what would be uploaded; upload nothing")  # fmt: skip


def _push(args: Arguments) -> None:
    from .runs.hub_upload import push

    say(str(push(args.run, args.name, private=not args.public, words=_words(args), card=args.card,
                 overwrite=args.overwrite, dry_run=args.dry_run, places=args.words)))  # fmt: skip


def _card_arguments(parser: Parser) -> None:
    takes_run(parser)
    takes_places(parser)
    _takes_words(parser)
    parser.add_argument("-o", "--output", default="", metavar="FILE",
                        help="such as README.md; default: print it")  # fmt: skip


def _card(args: Arguments) -> None:
    from .files import write_text
    from .runs.hub_upload import card_of

    card = card_of(args.run, _words(args), places=args.words)
    if not args.output:
        say(card.rstrip("\n"))
        return
    write_text(args.output, card)
    say(f"{args.output}: the model card of {args.run}; fill in what it marks as needed")


HUB_VERBS: dict[str, Verb] = {
    "export": Verb("write a run's model as torch.export or ONNX, its probabilities or its ledger",
                   _export_arguments, _export),
    "push": Verb("upload a run's model and its card to the Hugging Face hub",
                 _push_arguments, _push),
    "card": Verb("write a run's model card: data, protocol, scores, pseudo-labels, limits",
                 _card_arguments, _card),
}  # fmt: skip
