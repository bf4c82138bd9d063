"""`semi vote`: class probabilities of a table's texts by a language model, for `data.outside`.

Letters: N rows, C classes, S samples of a question.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..config.schema import Config, load_config
from ..data.manifest import Manifest, load_manifest
from ..data.missing import MISSING_TEXT
from ..data.wording import counted, shown
from ..errors import ConfigError, ManifestError
from ..evaluation.gold_share import GoldShare
from ..files import check_table, write_json, write_table
from .answer_cache import AnswerCache, question_key
from .answers import CHOICES, RowVote, vote_of
from .asking import Body, ask_all
from .endpoint import Endpoint
from .label_words import LabelWords, spoken_names
from .prompt import Prompt, Turns, prompt_of
from .settings import VoteSettings
from .vote_summary import VoteSummary, gold_share

PROBED = 3  # texts by which auto sees whether first tokens tell
NO_TEXT = "no text"
AT_HAND = 256  # questions kept as they were rendered, more than are ever under way


def vote(
    table: str | Path, settings: VoteSettings, output: str | Path = "votes.parquet",
    words: Sequence[str] = (), *, progress: bool = True,
) -> VoteSummary:  # fmt: skip
    """Asks a model about every text of a table and writes what it makes of each; returns a summary.

    Args:
        table: the table of utterances, or a YAML file of settings that names it.
        settings: model, question, patience.
        output: .parquet or .csv: id, p_<class>, label, named, note, answer; every row of the table.
            Beside it <output>.json says how it was made.
        words: settings of the data, such as data.classes=[joy,anger].
        progress: a bar on stderr.

    Raises:
        ConfigError: an option or the prompt cannot be used.
        ManifestError: the table cannot be read, or names no label.
        SemiError: the server cannot be asked; what was answered is kept.
    """
    output = Path(output)
    if output.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{output}: votes are written as .parquet or .csv; name such a file")
    check_table(output)
    config = _config(table, words)
    manifest = load_manifest(config.data.manifest, config.data, sounds=False)
    ballot = Ballot(manifest, settings)
    endpoint = settings.opened()
    _print(progress, settings.warning(), ballot.opening())
    with AnswerCache(settings.cache) as cache:
        method = ballot.method(endpoint, cache)
        keys = ballot.keys(method)
        failed = ballot.ask(endpoint, cache, method, keys, show=progress)
        columns = ballot.read(cache, method, keys, failed)
    import pandas as pd

    found = pd.DataFrame(columns)
    write_table(output, found)
    gold = _gold(manifest, config, found)
    summary = VoteSummary.of(output, manifest.classes, found, method, gold)
    write_json(output.with_name(f"{output.name}.json"), ballot.account(method, endpoint) |
               {"manifest_sha256": manifest.sha256, "counts": summary.counts})  # fmt: skip
    return summary


class Ballot:
    """The texts of a table as questions to one model."""

    def __init__(self, manifest: Manifest, settings: VoteSettings) -> None:
        """Reads the prompt and puts dialogues in order; see `vote` for what is raised."""
        classes = manifest.classes
        if len(classes) < 2:
            raise ManifestError(
                f"{manifest.path} names {counted(len(classes), 'label')}, and a vote needs two "
                "to choose from; name them with 'data.classes=[anger,joy]'"
            )
        self.settings, self.classes = settings, classes
        self.spoken = spoken_names(classes, settings.names)
        self.words = LabelWords(classes, self.spoken)
        self.prompt: Prompt = prompt_of(settings.prompt, self.spoken)
        self.turns = Turns(manifest, settings.context, settings.order)
        self.content = lru_cache(AT_HAND)(self._content)  # a row's samples follow each other
        self.ids = manifest.table["id"].tolist()
        texts = manifest.table["text"].tolist()
        self.asked = [at for at, text in enumerate(texts) if _is_text(text)]
        if not self.asked:
            raise ManifestError(
                f"{manifest.path} has no text in any row; a language model judges what was said: "
                "name the column with 'data.columns={text: NAME}'"
            )

    def opening(self) -> str:
        """Returns the line that says what will be asked."""
        turns = self.turns
        order = f", each after up to {turns.context} turns of its dialogue by {turns.ordered}"
        return (
            f"{counted(len(self.asked), 'text')} of {counted(len(self.ids), 'row')}"
            f"{order if turns.context else ''}; labels {', '.join(map(_shown, self.spoken))}"
        )

    def method(self, endpoint: Endpoint, cache: AnswerCache) -> str:
        """Returns how answers are read: as the settings say, else by first tokens if they tell."""
        known = self.settings.answers
        if known == "logprobs" and len(self.classes) > len(CHOICES):
            raise ConfigError(
                f"--answers logprobs chooses among {len(CHOICES)} letters, and there are "
                f"{counted(len(self.classes), 'label')}; take json"
            )
        if known != "auto":
            return known
        if len(self.classes) > len(CHOICES):
            return "json"
        probed = self.asked[:PROBED]
        keys = {self._key(at, "logprobs", 0): at for at in probed}
        questions = {key: partial(self.body, at, "logprobs", 0) for key, at in keys.items()}
        at_once = min(self.settings.parallel, len(questions))
        failed = ask_all(endpoint, cache, questions, at_once, title="", show=False)
        for key in keys.keys() - failed.keys():
            reply = cache.get(key)
            if reply and reply.top and self._vote("logprobs", [reply]).probs is not None:
                return "logprobs"
        return "json"

    def body(self, at: int, method: str, sample: int) -> Body:
        """Returns the request about a row."""
        content = self.content(at, method)
        body: Body = {"model": self.settings.model,
                      "messages": [{"role": "user", "content": content}]}  # fmt: skip
        if method == "logprobs":
            body |= {"temperature": 0, "max_tokens": 3, "logprobs": True, "top_logprobs": 20}
        elif method == "json":
            body |= {"temperature": 0, "max_tokens": 256 + 32 * len(self.classes)}
        else:
            body |= {"temperature": 1, "max_tokens": 64, "seed": sample}
        body |= self.settings.request
        return {name: value for name, value in body.items() if value is not None}

    def _content(self, at: int, method: str) -> str:
        return self.prompt.of(self.turns[at], method)

    def keys(self, method: str) -> list[list[bytes]]:
        """Returns the (S,) keys of the questions about each row that is asked about."""
        samples = self.settings.samples if method == "samples" else 1
        return [[self._key(at, method, s) for s in range(samples)] for at in self.asked]

    def _key(self, at: int, method: str, sample: int) -> bytes:
        return question_key(self.body(at, method, sample), sample)

    def ask(
        self, endpoint: Endpoint, cache: AnswerCache, method: str, keys: list[list[bytes]], *,
        show: bool,
    ) -> dict[bytes, str]:  # fmt: skip
        """Asks what is not in the cache; returns key -> why there is no answer."""
        questions: dict[bytes, Callable[[], Body]] = {
            key: partial(self.body, at, method, sample)
            for at, own in zip(self.asked, keys, strict=True)
            for sample, key in enumerate(own)
        }
        return ask_all(
            endpoint, cache, questions, self.settings.parallel, show=show,
            title=f"asking {shown(self.settings.model, 40)}",
        )  # fmt: skip

    def read(
        self, cache: AnswerCache, method: str, keys: list[list[bytes]], failed: dict[bytes, str]
    ) -> dict[str, Any]:
        """Returns the columns of the votes, a row for each of the table; NaN = no vote."""
        rows = len(self.ids)
        probs = np.full((rows, len(self.classes)), np.nan, dtype=np.float32)
        named, notes = np.zeros(rows, dtype=np.float32), [NO_TEXT] * rows
        label: list[str | None] = [None] * rows
        answer: list[str | None] = [None] * rows
        for at, own in zip(self.asked, keys, strict=True):
            replies = [reply for key in own if (reply := cache.get(key)) is not None]
            if not replies:
                notes[at] = next((failed[key] for key in own if key in failed), "not asked")
                continue
            found = self._vote(method, replies)
            notes[at], named[at] = found.note, found.named
            answer[at] = shown(replies[0].text.strip(), 200)
            if found.probs is not None:
                probs[at] = found.probs
                label[at] = self.classes[int(np.argmax(found.probs))]
        shares = {f"p_{name}": probs[:, c] for c, name in enumerate(self.classes)}
        return {"id": self.ids, **shares, "label": label, "named": named, "note": notes,
                "answer": answer}  # fmt: skip

    def _vote(self, method: str, replies: list) -> RowVote:
        return vote_of(method, replies, self.words, len(self.classes))

    def account(self, method: str, endpoint: Endpoint) -> dict[str, Any]:
        """Returns what the file beside the votes says of how they were made; no key."""
        ours = self.settings
        return {
            "endpoint": endpoint.address, "model": ours.model, "answers": method,
            "samples": ours.samples if method == "samples" else 1, "context": ours.context,
            "ordered_by": self.turns.ordered, "request": ours.request,
            "names": dict(zip(self.classes, self.spoken, strict=True)),
            "prompt": self.prompt.source, "example": self.body(self.asked[0], method, 0),
        }  # fmt: skip


def _config(table: str | Path, words: Sequence[str]) -> Config:
    """Returns the settings of the table: a YAML file that names it, or the table itself."""
    if Path(table).suffix.lower() in (".yaml", ".yml"):
        return load_config(table, words)
    return load_config(None, [f"data.manifest={table}", *words])


def _gold(manifest: Manifest, config: Config, votes: Any) -> GoldShare | str:
    """Returns how often the votes are right on gold training rows, or why it is not known.

    Rows that a run would hold out are not looked at: a prompt must not be chosen by them.
    """
    from ..data.splits import make_splits

    if not any(isinstance(label, str) for label in manifest.table["label"].tolist()):
        return "no row has a label"
    ordered = manifest.by_id()
    try:
        splits = make_splits(ordered, config.data, folds=config.train.folds,
                             seed=config.seed, several=False, inputs={"text"})  # fmt: skip
    except ManifestError as error:
        return str(error).splitlines()[0]
    return gold_share(ordered, splits, votes)


def _print(show: bool, *lines: str) -> None:
    for line in lines if show else ():
        if line:
            print(line, file=sys.stderr, flush=True)


def _is_text(cell: object) -> bool:
    return isinstance(cell, str) and cell.strip() not in MISSING_TEXT


def _shown(name: str) -> str:
    return shown(name, 40)
