"""One shard's work with all it takes to do it anywhere, and the shard that comes of it.

Letters: n items of a task.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.audio_decoders import SAMPLE_RATE
from ..errors import AudioError
from .encode import INPUT_KINDS, encode, wants_frames
from .merge import Shard
from .one_ahead import OneAhead
from .plan import Plan, cut
from .quarantine import Failure
from .remote import Remote
from .shards import BEGUN, shard_path
from .sources import RowSource

if TYPE_CHECKING:
    from models.encoders import Encoder


@dataclass
class ShardTask:
    """What is to be encoded for one shard."""

    shard: int  # its number in the plan
    kind: str  # audio | text | array
    keys: np.ndarray  # (n,) S64
    sizes: np.ndarray  # (n,) float64
    ids: list[str]  # (n,) of the utterances
    paths: list[str]  # (n,) of the files
    given: list[Any]  # (n,) what `read` takes
    read: Callable[[Any], Any]  # that -> what the encoder is given

    def loads(self, encoder: Encoder, pool: ThreadPoolExecutor) -> list[Future]:
        """Returns the futures (n,) of the items, loaded by threads where that takes a while."""
        load = _loader(self, encoder)
        if self.kind == "audio":
            return [pool.submit(load, item) for item in self.given]
        return [at_once(load, item) for item in self.given]


def task_of(plan: Plan, shard: int, source: RowSource) -> ShardTask:
    """Returns the work of one shard of a plan."""
    items = plan.items(shard)
    rows = plan.rows[items].tolist()
    return ShardTask(
        shard,
        source.kind,
        plan.keys[items],
        plan.sizes[items],
        [source.ids[row] for row in rows],
        [source.paths[row] for row in rows],
        [source.given(row) for row in rows],
        source.read,
    )


@dataclass
class ShardWriter:
    """Encodes a task in another process and writes its shard, which is the checkpoint."""

    encoder: Encoder
    folder: Path  # of the plan, on a file system that all workers share
    threads: int  # that decode
    remote: Remote | None = None  # the object store that the folder is a copy of

    def __call__(self, task: ShardTask) -> int:
        """Returns the shard's number; nothing is encoded where its file is there already."""
        path = shard_path(self.folder, task.shard)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(self.threads) as pool, ThreadPoolExecutor(1) as stager:
                batches = batches_of(task, task.loads(self.encoder, pool), self.encoder, stager)
                encode_task(task, batches, self.encoder).save(path)
        if self.remote is not None:  # where it is there, too: its writer may have died before this
            self.remote.put_shard(path)
            if not (path.parent / BEGUN).exists():  # of another machine: nobody merges it here
                path.unlink(missing_ok=True)
        return task.shard


def at_once(load: Callable[[Any], Any], given: Any) -> Future:
    """Returns the finished future of a row whose loading costs less than a thread's hand-over."""
    future: Future = Future()
    try:
        future.set_result(load(given))
    except Exception as error:  # met where the row's turn comes, as if a thread had met it
        future.set_exception(error)
    return future


def _loader(task: ShardTask, encoder: Encoder) -> Callable[[Any], Any]:
    """Returns what a decoding thread does for an item; sounds in 16 bits where the encoder likes.

    They are that only where nothing is lost, so what is stored is the same.
    """
    if task.kind != "audio" or not getattr(encoder, "takes_pcm", False):
        return task.read
    from models.encoders.transport import as_pcm

    def load(given: Any) -> Any:
        sound = task.read(given)
        return as_pcm(sound) if isinstance(sound, np.ndarray) else sound

    return load


@dataclass
class LoadedBatch:
    """What is encoded at once."""

    last: int  # the first item of the task that is not in it
    items: dict[int, Any]  # place in the task -> what the encoder is given
    reasons: dict[int, str]  # place -> why it could not be loaded
    given: list[Any]  # the items, on a GPU on their way there


def batches_of(
    task: ShardTask, loads: list[Future], encoder: Encoder, stager: Executor | None = None
) -> OneAhead[tuple[int, int], LoadedBatch]:
    """Returns the batches of a task, which follow from the task alone.

    Where the encoder is on a GPU, `stager` brings the next batch there while one is encoded.

    Args:
        task: n items.
        loads: (n,) futures of what the encoder is given.
        encoder: the encoder.
        stager: None loads a batch when it is asked for.
    """
    kind = INPUT_KINDS[task.kind]
    budget = max(kind.batch, float(getattr(encoder, "budget", 0)) / SAMPLE_RATE)
    most = kind.items if budget == kind.batch else len(task.sizes)
    stage = getattr(encoder, "staged", None) if getattr(encoder, "takes_pcm", False) else None

    def load(bounds: tuple[int, int]) -> LoadedBatch:
        items, reasons = _loaded(loads, *bounds)
        given = list(items.values())
        return LoadedBatch(bounds[1], items, reasons, given if stage is None else stage(given))

    bounds = itertools.pairwise(cut(task.sizes, budget, most).tolist())
    return OneAhead(bounds, load, None if stage is None else stager)


def encode_task(
    task: ShardTask,
    batches: Iterable[LoadedBatch],
    encoder: Encoder,
    tell: Callable[[float], object] = lambda done: None,
) -> Shard:
    """Returns the shard of a task.

    Args:
        task: n items.
        batches: of the task.
        encoder: the encoder.
        tell: called after each batch with the size of what is done.
    """
    failures: list[Failure] = []
    good: list[np.ndarray] = []
    kept: list[int] = []
    seconds: list[float] = []
    for batch in batches:
        results, reasons = encode(encoder, batch.given), batch.reasons
        for (i, value), result in zip(batch.items.items(), results, strict=True):
            if isinstance(result, str):
                reasons[i] = result
                continue
            good.append(result)
            kept.append(i)
            seconds.append(len(value) / SAMPLE_RATE if task.kind == "audio" else np.nan)
        for i, reason in sorted(reasons.items()):
            failures.append(Failure(task.keys[i].decode(), task.ids[i], task.paths[i], reason))
        tell(float(task.sizes[: batch.last].sum()))
    lengths = None
    if wants_frames(encoder):
        lengths = np.array([len(frames) for frames in good], np.int64)
        data = np.concatenate(good) if good else np.empty((0, 0), np.float32)
    else:
        data = np.stack(good) if good else np.empty((0, 0), np.float32)
    return Shard(task.keys[kept], np.array(seconds, np.float32), data, lengths, failures)


def _loaded(loads: list[Future], first: int, last: int) -> tuple[dict[int, Any], dict[int, str]]:
    """Returns what was loaded of places first ... last - 1, and why others could not be."""
    batch: dict[int, Any] = {}
    reasons: dict[int, str] = {}
    for i in range(first, last):
        try:
            batch[i] = loads[i].result()
        except AudioError as error:
            reasons[i] = str(error)
        except Exception as error:  # a failed file never blocks the others
            reasons[i] = f"unreadable: {type(error).__name__}: {error}"
        loads[i] = Future()  # lets go of the sound
    return batch, reasons
