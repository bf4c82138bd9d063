"""One worker's loop: claim a shard, decode ahead, encode, write; until nothing is missing."""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.audio_decoders import SAMPLE_RATE
from ..errors import AudioError, EncoderError, SemiError
from .merge import Shard, leftovers
from .progress import Progress
from .quarantine import Failure, read_quarantine
from .shards import Pending, PlanGone, Worker, begin, cut
from .sources import RowSource
from .store import Shelf, Snapshot

if TYPE_CHECKING:
    from models.encoders import Encoder

ITEM_ERRORS = (ValueError, ArithmeticError, IndexError, RuntimeError)  # may be one item's fault
AHEAD = 1  # shards decoded while another is encoded


@dataclass
class Kind:
    """How the work on one kind of input is cut, in the unit of its sizes."""

    unit: str
    shard: tuple[float, float]  # smallest and largest shard; many small ones for a small corpus
    batch: float  # given to the encoder at once, unless it names its own budget
    items: int  # at most so many at once


INPUT_KINDS = {
    "audio": Kind("s of sound", (60.0, 600.0), 30.0, 64),
    "text": Kind("characters", (20_000.0, 200_000.0), 10_000.0, 64),
    "array": Kind("bytes", (4e6, 64e6), 16e6, 64),
}


def wants_frames(encoder: Encoder) -> bool:
    """Returns whether an encoder is set to keep every frame instead of one vector."""
    config = getattr(encoder, "config", None)
    return bool(getattr(encoder, "frames", getattr(config, "pooling", "") == "frames"))


def fill(
    shelf: Shelf,
    source: RowSource,
    encoder: Encoder,
    worker: Worker,
    *,
    workers: int,
    progress: bool,
) -> Snapshot:
    """Encodes what the shelf lacks of `source`, together with any other workers; returns it full.

    What cannot be encoded is in the shelf's quarantine list afterwards. The encoder is not touched
    when nothing is missing.
    """
    keys, rows = source.first_rows()
    sizes = np.zeros(len(keys))
    snapshot = shelf.open()
    lacking = np.flatnonzero(snapshot.find(keys) < 0)
    if not len(lacking) and not leftovers(shelf) and not (shelf.folder / "pending").exists():
        return snapshot  # nothing to write: a store that may only be read will do
    with ThreadPoolExecutor(workers) as pool:
        sizes[lacking] = list(pool.map(source.size, rows[lacking]))
    if settle := getattr(encoder, "settle_layout", None):
        note = settle(shelf.folder.parent, float(sizes.sum()))
        if note and progress:
            print(f"{shelf.modality}: {note}", file=sys.stderr)
    kind = INPUT_KINDS[source.kind]
    settled: set[str] = set()
    while True:
        pending, snapshot = begin(
            shelf, keys, rows, sizes, lambda total: float(np.clip(total / 64, *kind.shard)), settled
        )
        if pending is None:
            return snapshot
        title = f"extract {shelf.modality}"
        total = float(pending.plan.sizes.sum())
        try:
            with Progress(title, total, kind.unit, show=progress) as bar:
                _work(pending, source, encoder, worker, workers, bar)
            pending.merge()
        except PlanGone:
            pass  # merged by another worker, or taken in pieces: look again at what is missing
        finally:
            pending.give_back()
        settled = set(read_quarantine(shelf))


def _work(
    pending: Pending,
    source: RowSource,
    encoder: Encoder,
    worker: Worker,
    workers: int,
    bar: Progress,
) -> None:
    """Claims and encodes shards until all of the plan are finished, by this worker or by others."""
    plan = pending.plan
    load = _loader(source, encoder)
    weight = np.add.reduceat(plan.sizes, plan.bounds[:-1])  # of each shard
    waiting: deque[tuple[int, list[Future]]] = deque()
    pool = ThreadPoolExecutor(workers)
    submit = pool.submit if source.kind == "audio" else at_once
    try:
        while True:
            while len(waiting) <= AHEAD and (shard := pending.claim(worker)) is not None:
                rows = plan.rows[plan.items(shard)]
                waiting.append((shard, [submit(load, int(row)) for row in rows]))
            done = pending.done()
            finished = float(weight[done].sum())
            bar.at(finished)
            if not waiting:
                if len(done) == len(plan):
                    return
                time.sleep(0.1)  # others are at work on the rest
                continue
            shard, futures = waiting.popleft()
            result = _shard(pending, shard, futures, source, encoder, bar, finished)
            pending.finish(shard, result)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def at_once(load: Callable[[int], Any], row: int) -> Future:
    """Returns the finished future of a row whose loading costs less than a thread's hand-over."""
    future: Future = Future()
    try:
        future.set_result(load(row))
    except Exception as error:  # met where the row's turn comes, as if a thread had met it
        future.set_exception(error)
    return future


def _loader(source: RowSource, encoder: Encoder) -> Callable[[int], Any]:
    """Returns what a decoding thread does for a row; sounds in 16 bits where the encoder likes it.

    They are that only where nothing is lost, so what is stored is the same.
    """
    if source.kind != "audio" or not getattr(encoder, "takes_pcm", False):
        return source.load
    from models.encoders.transport import as_pcm

    def load(row: int) -> Any:
        sound = source.load(row)
        return as_pcm(sound) if isinstance(sound, np.ndarray) else sound

    return load


def _shard(
    pending: Pending,
    shard: int,
    futures: list[Future],
    source: RowSource,
    encoder: Encoder,
    bar: Progress,
    finished: float,
) -> Shard:
    """Encodes one shard in batches whose composition follows from the plan alone."""
    plan, kind = pending.plan, INPUT_KINDS[source.kind]
    items = plan.items(shard)
    keys, rows, sizes = plan.keys[items], plan.rows[items], plan.sizes[items]
    budget = max(kind.batch, float(getattr(encoder, "budget", 0)) / SAMPLE_RATE)
    failures: list[Failure] = []
    good: list[np.ndarray] = []
    kept: list[int] = []
    seconds: list[float] = []
    bounds = cut(sizes, budget, kind.items if budget == kind.batch else len(sizes))
    for first, last in itertools.pairwise(bounds.tolist()):
        batch, reasons = _loaded(futures, first, last)
        results = encode(encoder, list(batch.values()))
        for (i, value), result in zip(batch.items(), results, strict=True):
            if isinstance(result, str):
                reasons[i] = result
                continue
            good.append(result)
            kept.append(i)
            seconds.append(len(value) / SAMPLE_RATE if source.kind == "audio" else np.nan)
        for i, reason in sorted(reasons.items()):
            row = int(rows[i])
            key = keys[i].decode()
            failures.append(Failure(key, source.ids[row], source.paths[row], reason))
        pending.beat()
        bar.at(finished + float(sizes[:last].sum()))
    lengths = None
    if wants_frames(encoder):
        lengths = np.array([len(frames) for frames in good], np.int64)
        data = np.concatenate(good) if good else np.empty((0, 0), np.float32)
    else:
        data = np.stack(good) if good else np.empty((0, 0), np.float32)
    return Shard(keys[kept], np.array(seconds, np.float32), data, lengths, failures)


def _loaded(futures: list[Future], first: int, last: int) -> tuple[dict[int, Any], dict[int, str]]:
    """Returns what the threads have read of places first ... last - 1, and why others were not."""
    batch: dict[int, Any] = {}
    reasons: dict[int, str] = {}
    for i in range(first, last):
        try:
            batch[i] = futures[i].result()
        except AudioError as error:
            reasons[i] = str(error)
        except Exception as error:  # a failed file never blocks the others
            reasons[i] = f"unreadable: {type(error).__name__}: {error}"
        futures[i] = Future()  # lets go of the sound
    return batch, reasons


def encode(encoder: Encoder, batch: list[Any]) -> list[np.ndarray | str]:
    """Returns for each item its array, or the reason why it has none.

    When a batch fails its items are tried one by one, so that one bad item costs only itself.
    EncoderError where the fault must be the encoder's: then nothing is blamed on the items.
    """
    if not batch:
        return []
    try:
        return _checked(_run(encoder, batch))
    except ITEM_ERRORS as error:
        _raise_if_device(encoder, error)
        if len(batch) == 1:
            return [_reason(error)]
    except Exception as error:
        raise _fault(encoder, error) from error
    results: list[np.ndarray | str] = []
    last: Exception = ValueError()
    for item in batch:
        try:
            results += _checked(_run(encoder, [item]))
        except ITEM_ERRORS as error:
            _raise_if_device(encoder, error)
            results.append(_reason(error))
            last = error
    if isinstance(last, RuntimeError) and all(isinstance(r, str) for r in results):
        raise _fault(encoder, last) from last
    return results


def _reason(error: Exception) -> str:
    if "out of memory" in str(error).lower():
        return "too long for the encoder's memory"
    return f"the encoder refused it: {error}"


def _raise_if_device(encoder: Encoder, error: Exception) -> None:
    if type(error).__name__ == "EncoderUnavailable" or "CUDA error" in str(error):
        raise _fault(encoder, error) from error


def _fault(encoder: Encoder, error: Exception) -> Exception:
    if isinstance(error, SemiError):
        return error
    if type(error).__name__ == "EncoderUnavailable":
        return EncoderError(str(error))
    return EncoderError(
        f"The {encoder.modality} encoder failed ({type(error).__name__}: {error}); this is not the "
        "fault of one utterance, so extraction stopped; finished work is kept"
    )


def _run(encoder: Any, batch: list[Any]) -> list[np.ndarray]:
    if wants_frames(encoder):
        return [np.asarray(frames, np.float32) for frames in encoder.encode_frames(batch)]
    return list(np.asarray(encoder.encode(batch), np.float32))


def _checked(rows: list[np.ndarray]) -> list[np.ndarray | str]:
    bad = "the encoder gave NaN or infinite numbers"
    return [row if np.isfinite(row).all() else bad for row in rows]
