"""The commands that make what others read: manifest, convert."""

from __future__ import annotations

from .completion import corpora
from .data.wording import counted, setting
from .verbs import Arguments, Parser, Verb, completed_by, say


def _manifest_arguments(parser: Parser) -> None:
    corpus = parser.add_argument("corpus", help="name of a published corpus, such as emodb")
    completed_by(corpus, corpora)
    parser.add_argument("folder", help="folder that holds the corpus as it was downloaded")
    parser.add_argument("words", nargs="*", default=[], metavar="option=value",
                        help="options of the corpus, such as tags=strip; a wrong one lists them "
                             "all")  # fmt: skip
    parser.add_argument("-o", "--output", default="manifest.csv", help="default: manifest.csv")


def _manifest(args: Arguments) -> None:
    from .data.corpora import corpus_manifest, parse_options
    from .data.manifest import load_manifest, write_manifest

    table, notes = corpus_manifest(args.corpus, args.folder, **parse_options(args.words))
    write_manifest(table, args.output)
    say(
        *notes,
        f"{args.output}: {counted(len(table), 'utterance')}",
        str(load_manifest(args.output).reading),
    )


def _convert_arguments(parser: Parser) -> None:
    parser.add_argument("checkpoint", help="file of fairseq, s3prl or torchaudio, by any name")
    parser.add_argument("folder", help="new Hugging Face folder")


def _convert(args: Arguments) -> None:
    from models.encoders.fairseq import convert

    folder = convert(args.checkpoint, args.folder)
    say(f"{folder}: use it with {setting('encoders.speech.model', folder)}")


DATA_VERBS: dict[str, Verb] = {
    "manifest": Verb("make the table of utterances of a published corpus",
                     _manifest_arguments, _manifest),
    "convert": Verb("write a fairseq checkpoint as a Hugging Face folder",
                    _convert_arguments, _convert),
}  # fmt: skip
