"""Which trackers there are: to add one, write its file and put it here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from ...data.wording import nearest
from ...errors import how_to_install
from .kept import Kept
from .several import Trackers, open_trackers
from .tracker import Tracker

Opener = Callable[[Path, str, Kept], Tracker]


def _tensorboard(folder: Path, title: str, kept: Kept) -> Tracker:
    from .tensorboard import TensorBoardTracker

    return TensorBoardTracker(folder / "tb")


def _mlflow(folder: Path, title: str, kept: Kept) -> Tracker:
    from .mlflow_run import MlflowTracker

    tracker = MlflowTracker(title, kept.run("mlflow"))
    return _known(kept, "mlflow", tracker, tracker.run)


def _wandb(folder: Path, title: str, kept: Kept) -> Tracker:
    from .wandb_run import WandbTracker

    tracker = WandbTracker(title, kept.run("wandb"))
    return _known(kept, "wandb", tracker, tracker.run_id)


def _known(kept: Kept, name: str, tracker: Tracker, run: str) -> Tracker:
    """Remembers a tracker's run; another one than before begins without the earlier rounds."""
    if kept.run(name) != run:
        kept.keep(name, run=run, rounds=[], final=False)
    return tracker


TRACKERS: dict[str, Opener] = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


def trackers_of(names: Sequence[str], folder: str | Path, title: str) -> Trackers:
    """Returns the named trackers of a run in its folder; `title` is the run's name."""
    return open_trackers({name: TRACKERS[name] for name in names}, folder, title)


def names_problem(names: Sequence[str]) -> str:
    """Returns what is wrong with the names of trackers, or ''."""
    for name in names:
        if name not in TRACKERS:
            hint = nearest(name, TRACKERS)
            return f"may name {', '.join(TRACKERS)}, got '{name}'{hint}"
    twice = next((name for name in names if names.count(name) > 1), "") if names else ""
    return f"names {twice} twice" if twice else ""


def missing_library(names: Sequence[str]) -> str:
    """Returns which tracker's library is not installed here and how to get it, or ''."""
    for name in names:
        found = importlib.util.find_spec(name) if name in TRACKERS else True
        # what W&B writes lies in a folder ./wandb: to Python a package without a file
        if found is None or (found is not True and found.origin is None):
            return (
                f"{name} needs a library that is not installed here: {how_to_install(name)}, or "
                f"take {name} out of track"
            )
    return ""
