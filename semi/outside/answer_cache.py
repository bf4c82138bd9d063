"""What was answered already, by the content of the question: nothing is asked twice.

An SQLite file: several commands may share it, and a kill at any moment loses no answer that was
kept. The key of a question is the SHA-256 of all that is sent (model, prompt, settings) and the
number of its sample; the prompts themselves are not in the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.wording import shown
from ..errors import RunError
from .answers import ModelReply

CACHE_VERSION = 1  # of the file, in SQLite's own user_version
LOCK_SECONDS = 60.0  # that another command may hold the file


def question_key(body: dict[str, Any], sample: int = 0) -> bytes:
    """Returns the 32 bytes by which a question is known."""
    text = json.dumps([body, sample], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


class AnswerCache:
    """The answers in a file; one thread uses it."""

    def __init__(self, path: str | Path) -> None:
        """Opens the file, which is made where there is none; RunError where it is no such file."""
        self.path = Path(path)
        with self._sentences():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.base = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
            self.base.execute("PRAGMA journal_mode=WAL")  # where a file system has none, another
            self.base.execute("PRAGMA synchronous=NORMAL")
            # Who makes the file says the version first and reads it last: neither a kill between
            # the two nor another command leaves tables without one.
            tables = [name for (name,) in self.base.execute("SELECT name FROM sqlite_master")]
            found = self.base.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, CACHE_VERSION) or (tables and found != CACHE_VERSION):
                raise RunError(
                    f"{self.path} holds no answers that this version of semi reads; name another "
                    "file with --cache"
                )
            self.base.execute(f"PRAGMA user_version={CACHE_VERSION}")
            self.base.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, reply TEXT NOT NULL) "
                "WITHOUT ROWID"
            )

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.base.close()

    def __contains__(self, key: bytes) -> bool:
        with self._sentences():
            found = self.base.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone()
        return found is not None

    def get(self, key: bytes) -> ModelReply | None:
        """Returns a reply, None where the question was not answered yet."""
        with self._sentences():
            found = self.base.execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        try:
            value = json.loads(found[0])
            top = [(str(token), float(logprob)) for token, logprob in value["top"]]
            return ModelReply(str(value["text"]), top, bool(value["cut"]))
        except (ValueError, KeyError, TypeError):
            return None  # asked again

    def put(self, key: bytes, reply: ModelReply) -> None:
        """Keeps a reply."""
        top = [(token, round(logprob, 5)) for token, logprob in reply.top]
        text = json.dumps({"text": reply.text, "top": top, "cut": reply.cut})
        with self._sentences():
            self.base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Turns what SQLite and the system raise into a sentence."""
        where = shown(os.fspath(self.path), 200)
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(
                f"{where} cannot be used as the file of answers: {error}; name another with "
                "--cache, or remove it: then everything is asked again"
            ) from None
        except OSError as error:
            raise RunError(f"{where} cannot be written: {error.strerror}; name another file with "
                           "--cache") from None  # fmt: skip
