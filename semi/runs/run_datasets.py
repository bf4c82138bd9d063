"""A run's ledger as a data set of Hugging Face `datasets`: labels as ClassLabel, texts as texts.

Written as Parquet in the layout that `datasets.load_dataset` reads, with the features among the
file's metadata; the library itself is needed for `ledger_dataset` alone. Letters: C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError, how_to_install, reading
from ..evaluation.ledger_file import LEDGER_TABLE
from ..files import ANEW, write_dir
from ..self_training.model_dir import MODEL_JSON, find_model
from ..shapes import read_shaped
from .dataset_sounds import AUDIO, UtteranceSounds, sounds_of
from .reopen import result_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 100_000  # of the ledger in memory at a time
HEARD_ROWS = 256  # the same, with their sounds
FILE = "data/train-00000-of-00001.parquet"  # load_dataset calls its one part train
NAMES_OF = {"string": "string", "large_string": "string", "bool": "bool", "double": "float64",
            "float": "float32", "halffloat": "float16", "null": "null"}  # fmt: skip


def ledger_dataset(
    run: str | Path, *, sounds: bool = False, places: Sequence[str] = ()
) -> Any:  # fmt: skip
    """Returns the whole ledger of a finished run as a `datasets.Dataset` in memory.

    Its columns are those of the ledger; `label` and the votes are ClassLabel (None = none given),
    unless a row may have several. RunError where the library is missing or the run is unfinished.

    With `sounds` it has one row an utterance, that of the last round, and a column audio;
    `places` says where table and sounds are now, if they have moved.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise RunError(
            f"the library datasets is not installed: {how_to_install('datasets')}, or write the "
            "data set without it: semi export RUN -o FOLDER --dataset"
        ) from None
    import pyarrow as pa

    tables = list(ledger_batches(run, sounds_of(run, places) if sounds else None))
    return datasets.Dataset(datasets.table.InMemoryTable(pa.concat_tables(tables)))


def write_ledger_dataset(
    run: str | Path, folder: str | Path, *, sounds: bool = False, places: Sequence[str] = ()
) -> int:
    """Writes the ledger of a finished run as a data set and returns its number of rows.

    Memory does not grow with the ledger. RunError where the folder is there already. `sounds` and
    `places` as of `ledger_dataset`.
    """
    import pyarrow.parquet as pq

    rows, heard = 0, sounds_of(run, places) if sounds else None
    with write_dir(folder) as target:
        path = target / FILE
        path.parent.mkdir()
        writer = None
        for part in ledger_batches(run, heard):
            writer = writer or pq.ParquetWriter(path, part.schema)
            writer.write_table(part)
            rows += len(part)
        if writer is not None:
            writer.close()
    return rows


def ledger_batches(run: str | Path, sounds: UtteranceSounds | None = None) -> Iterator[pa.Table]:
    """Yields the ledger piece by piece, with the features of `datasets` in each schema.

    With `sounds` the last round alone: one row an utterance, with its sound.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..self_training.run_dir import Run

    opened = Run.open(run)
    result_of(opened)
    path = opened.path / LEDGER_TABLE
    if not path.is_file():
        raise RunError(f"{path} is missing; {ANEW}")
    with reading(path, "a ledger", ANEW):
        file = pq.ParquetFile(path)
    if not file.metadata.num_rows:
        raise RunError(f"{run} has an empty ledger: no round was judged, so nothing was labelled")
    classes = [] if opened.config.task.multi else _classes(opened.path)
    last = file.read(columns=["round"]).column(0).to_numpy().max()
    for batch in file.iter_batches(batch_size=HEARD_ROWS if sounds else ROWS):
        part = pa.Table.from_batches([batch])
        if sounds is not None:
            part = part.filter(pa.array(part.column("round").to_numpy() == last))
            if not len(part):
                continue
            part = part.append_column("audio", sounds.column(part.column("id").to_pylist()))
        yield _described(part, classes)


def _classes(run: Path) -> list[str]:
    """Returns the C classes of a run's model, in order."""
    path = find_model(run) / MODEL_JSON
    return read_shaped(path, {"classes": [str]})["classes"]


def _described(table: pa.Table, classes: list[str]) -> pa.Table:
    """Returns a piece with classes as numbers, and with its features."""
    import pyarrow as pa

    features: dict[str, Any] = {}
    columns: list[Any] = []
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if name == "audio" and pa.types.is_struct(column.type):
            features[name] = AUDIO
        elif (name == "label" or name.startswith("vote_")) and classes:
            number = {name: k for k, name in enumerate(classes)}
            column = pa.array([number.get(word) for word in column.to_pylist()], pa.int64())
            features[name] = {"names": classes, "_type": "ClassLabel"}
        else:
            kind = str(column.type)
            if kind == "large_string":
                column = column.cast(pa.string())
            features[name] = {"dtype": NAMES_OF.get(kind, kind), "_type": "Value"}
        columns.append(column)
    about = json.dumps({"info": {"features": features}})
    described = pa.table(columns, names=table.column_names)
    return described.replace_schema_metadata({"huggingface": about})
