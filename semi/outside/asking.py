"""Many questions to one server: several at once, each kept as soon as it is answered."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..data.wording import counted
from ..errors import SemiError
from ..features.progress import Progress
from .answer_cache import AnswerCache
from .answers import ModelReply
from .endpoint import Endpoint, NoReply, QuestionRefused

GIVE_UP = 10  # questions in a row without a reply: the server is away

Body = dict[str, Any]


def ask_all(
    endpoint: Endpoint, cache: AnswerCache, questions: Mapping[bytes, Callable[[], Body]],
    parallel: int, *, title: str, show: bool,
) -> dict[bytes, str]:  # fmt: skip
    """Asks what the cache has no answer to and keeps it there; returns key -> why there is none.

    Args:
        endpoint: where to ask.
        cache: what was answered, and where answers go.
        questions: key of `question_key` -> what makes the body of the request.
        parallel: questions under way at once.
        title: of the bar.
        show: whether there is one.

    Raises:
        EndpointError: no question can be answered there.
        SemiError: the server went away; what was answered is kept.
    """
    todo = [key for key in questions if key not in cache]
    failed: dict[bytes, str] = {}
    in_a_row = 0
    with (
        Progress(title, len(todo), "questions", show=show) as bar,
        _replies(endpoint, todo, questions, parallel) as replies,
    ):
        for number, (key, found) in enumerate(replies, 1):
            if isinstance(found, ModelReply):
                cache.put(key, found)
                in_a_row = 0
            elif isinstance(found, (QuestionRefused, NoReply)):
                refused = isinstance(found, QuestionRefused)
                failed[key] = f"{'refused' if refused else 'no reply'}: {found}"
                in_a_row += 1
                if in_a_row >= (GIVE_UP if endpoint.answered else min(parallel, len(todo))):
                    raise SemiError(_given_up(endpoint, in_a_row, number, len(failed), found))
            else:
                raise found
            bar.at(number)
    return failed


def _given_up(endpoint: Endpoint, in_a_row: int, asked: int, failed: int, last: Exception) -> str:
    """Returns the sentence that ends a command whose server answers no more."""
    kept = asked - failed
    if not endpoint.answered:
        return f"{endpoint.address} answers no question: {last}"
    return (
        f"{endpoint.address} left {counted(in_a_row, 'question')} in a row without an answer, the "
        f"last one: {last}; {counted(kept, 'new answer', 'is', 'are')} kept, the same line asks "
        "the rest"
    )


@contextmanager
def _replies(
    endpoint: Endpoint, todo: Sequence[bytes], questions: Mapping[bytes, Callable[[], Body]],
    parallel: int,
) -> Iterator[Iterator[tuple[bytes, ModelReply | Exception]]]:  # fmt: skip
    """Yields an iterator over keys with what came of them, in the order in which it came.

    The threads are daemons: after Ctrl-C nobody waits for a reply that may never come.
    """
    rest, done = iter(todo), queue.Queue()
    lock = threading.Lock()

    def work() -> None:
        while not endpoint.stop.is_set():
            with lock:
                key = next(rest, None)
            if key is None:
                return
            try:
                done.put((key, endpoint.ask(questions[key]())))
            except Exception as error:
                if not isinstance(error, (QuestionRefused, NoReply)):
                    endpoint.stop.set()  # the next one would end the same way
                done.put((key, error))

    endpoint.stop.clear()
    for number in range(min(parallel, len(todo))):
        threading.Thread(target=work, daemon=True, name=f"semi-vote-{number}").start()
    try:
        yield (done.get() for _ in todo)
    finally:
        endpoint.stop.set()
