"""The folder that an adaptation writes: what may stand there, its reviews, the adapted encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...checksums import seal
from ...data.kept_reviews import keep_reviews
from ...data.reviewed import GOLD_REVIEWS, Reviewed
from ...errors import RunError
from ...files import write_dir, write_json, write_table
from .checkpoint import CHECKPOINT
from .data import GoldRows
from .learner import Learner
from .provenance import ADAPTED_ON


def refuse_other_work(target: Path, parts: list[str], resume: bool) -> None:
    """Raises RunError where a folder holds an adapted encoder, or one that was not asked for."""
    for name in parts:
        if (target / name).exists():
            raise RunError(
                f"{target / name} already holds an adapted encoder; choose another name=..., or "
                "delete the folder"
            )
    if (target / CHECKPOINT).exists() and not resume:
        raise RunError(
            f"{target} holds an unfinished adaptation; continue it with --resume, choose another "
            "name=..., or delete the folder"
        )


def keep_own_reviews(target: Path, reviewed: Reviewed | None, resume: bool) -> None:
    """Writes down the reviews that are learned from; a kill may have left those of another try."""
    if not resume:
        (target / GOLD_REVIEWS).unlink(missing_ok=True)
    if reviewed is not None:
        target.mkdir(parents=True, exist_ok=True)
        keep_reviews(target, reviewed)


def write_adapted(learner: Learner, target: Path, rows: GoldRows, history: list) -> None:
    """Writes the adapted folders, each whole, with the utterances they have learned from."""
    encoders: Any = learner.encoders
    for name, encoder in encoders.items():
        with write_dir(target / name) as folder:
            encoder.save(folder)
            write_table(folder / ADAPTED_ON, rows.table[["id"]].iloc[rows.train])
            seal(folder)
    write_json(target / "history.json", history)
    seal(target, leave_out=(CHECKPOINT,))
