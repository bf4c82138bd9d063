"""Names of models on the Hugging Face hub, org/name or org/name@revision, told from folders."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import RunError

SCHEME = "hf://"  # in front of a name that is also a folder here
PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
NAME = re.compile(rf"(?P<repo>{PART}/{PART})(?:@(?P<revision>[^\s@]+))?", re.ASCII)
FOLDER_OF_RUNS = "runs"  # a name in it that is no folder is a slip of the pen, not somebody's model


@dataclass(frozen=True)
class HubName:
    """A model on the hub."""

    repo: str  # org/name
    revision: str = ""  # branch, tag or commit; "" = the main branch

    def __str__(self) -> str:
        """Returns the name as it is written."""
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def hub_name(run: str | Path) -> HubName | None:
    """Returns the hub model that a text names; None where it means a folder of this machine.

    What is here wins. Where the first part of a name is a folder here, or `runs`, a folder in it
    was meant; hf://org/name is a model on the hub in any case.
    """
    if isinstance(run, Path):
        return None
    if run.startswith(SCHEME):
        return parsed(run.removeprefix(SCHEME))
    match = NAME.fullmatch(run)
    if match is None or os.path.exists(run):
        return None
    first = run.partition("/")[0]
    if first == FOLDER_OF_RUNS or os.path.isdir(first):
        return None
    return HubName(match["repo"], match["revision"] or "")


def parsed(name: str) -> HubName:
    """Returns the hub model that a name means; RunError where it is none."""
    match = NAME.fullmatch(name)
    repo = match["repo"] if match else ""
    if match is None or "--" in repo or ".." in repo or len(repo) > 96 or repo.endswith(".git"):
        raise RunError(
            f"'{name[:120]}' is no name of a model on the Hugging Face hub; it is org/name, such "
            "as my-lab/emotions: letters, digits, '-', '_' and '.', 96 at most, and "
            "org/name@revision for a branch, tag or commit"
        )
    return HubName(repo, match["revision"] or "")


def refuse_hub_name(path: str | Path) -> None:
    """Raises RunError where a path that is no folder here is the name of a model on the hub.

    For what needs a run of this machine: the hub has models without their rows and rounds.
    """
    name = str(path)
    if name.startswith(SCHEME[:-1]):  # as a Path writes it
        name = SCHEME + name.removeprefix(SCHEME[:-1]).lstrip("/")
        if NAME.fullmatch(name.removeprefix(SCHEME)) is None:  # a place in a bucket or data set
            return
    found = hub_name(name)
    if found is not None:
        raise RunError(
            f"{path}: no such folder, and this needs a run of this machine: a model on the Hugging "
            "Face hub has no rows and no rounds; what takes its name: semi predict, serve, export "
            f"-o model.onnx, and semi.load; to score it, semi predict {found} --manifest mine.csv "
            "-o answers.csv, and hold its labels against yours"
        )
