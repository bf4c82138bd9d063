"""`semi verify`: is a run, a model, a feature store or an ensemble as it was written?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ..checksums import CHECKSUMS, DERIVED, LEFT_OUT
from ..data.wording import counted
from ..errors import RunError
from ..features.remote import is_url
from ..features.store import FeatureStore
from ..features.verify import PLAIN, shelf_problems
from ..hub_names import refuse_hub_name
from ..self_training.integrity import OLD, IntegrityReport, inspect_folder, inspect_run
from ..self_training.model_dir import MODEL_JSON
from .folder_parts import inspect_parts

# What a folder is by a file that it holds. Of the first ones a record names every file; in the
# others, which grow, each file guards itself.
KINDS = {
    "ensemble.json": "ensemble",
    "history.json": "adapted encoders",
    "adapted_on.csv": "adapted encoder",
    "search.begun.json": "search",
    "settings.json": "benchmark",
    "transfer.json": "transfer",
    "checkpoint.safetensors": "unfinished adaptation",
    DERIVED: "report",
}
SEALED = ("ensemble", "adapted encoders", "adapted encoder")


@dataclass
class Verification:
    """What became of the files of a folder since they were written."""

    path: str
    what: str  # run | model | feature store | ensemble | search ...; see KINDS
    files: int  # checked
    problems: list[str] = field(default_factory=list)  # damaged, missing, foreign or added
    notes: list[str] = field(default_factory=list)  # what was not checked, and why

    def __str__(self) -> str:
        """Returns the problems, the notes and a line that sums them up."""
        checked = counted(self.files, "file")
        lines = [*self.problems, *(f"not checked: {note}" for note in self.notes)]
        if not self.problems and self.files:
            lines.append(f"{self.path}: {self.what} of {checked}, all as they were written")
        elif not self.problems:
            lines.append(f"{self.path}: {self.what} without checksums; nothing can be said of it")
        return "\n".join(lines)


def verify(path: str | Path) -> Verification:
    """Returns which files of a folder are not as they were written.

    Args:
        path: a run, a model directory, a feature store or one folder of it, an ensemble, or what
            semi folds, finetune, search, benchmark, transfer and prune-report write.
    """
    if is_url(path):
        refuse_hub_name(path)
        return _store_at(str(path))
    path = Path(path)
    if not path.is_dir():
        refuse_hub_name(path)
        raise RunError(f"{path}: no such folder; name a run, a model folder or a feature store")
    if (path / "config.yaml").is_file() and not (path / MODEL_JSON).is_file():
        return _said(path, "run", inspect_run(path))
    if (path / MODEL_JSON).is_file():
        return _said(path, "model", inspect_folder(path))
    if (path / "encoder.json").is_file() or any(path.glob("*/encoder.json")):
        return _store(path)
    what = next((word for name, word in KINDS.items() if any(path.glob(name))), "folder")
    if (path / CHECKSUMS).is_file():
        return _said(path, what, inspect_folder(path))
    if what in SEALED:  # of a version that kept no checksums, or the last file was never written
        found = IntegrityReport(notes=[f"{path}: {OLD}"])
        return _said(path, what, found)
    if what != "folder":
        return _said(path, what, inspect_parts(path))
    raise RunError(
        f"{path} is no run, no model folder and no feature store, and nothing else that semi "
        "writes; name one, such as runs/demo"
    )


def _said(path: Path, what: str, found: IntegrityReport) -> Verification:
    notes = [f"{path / name} {why}" for name, why in LEFT_OUT.items() if (path / name).is_file()]
    problems = [*found.problems, *found.added]
    return Verification(str(path), what, found.files, problems, [*found.notes, *notes])


def _store_at(url: str) -> Verification:
    """Returns what is wrong with a feature store on an object store; gets every byte of it."""
    store = FeatureStore(url)
    with TemporaryDirectory() as folder:
        store.root = Path(folder)
        store.shelves()
        found = _store(store.root)
    problems = [problem.replace(folder, store.url) for problem in found.problems]
    return replace(found, path=store.url, problems=problems, notes=[])


def _store(path: Path) -> Verification:
    """Returns what is wrong with the folders of a feature store."""
    folders = [path] if (path / "encoder.json").is_file() else sorted(
        p.parent for p in path.glob("*/encoder.json")
    )  # fmt: skip
    done = Verification(str(path), "feature store", 0)
    for folder in folders:
        problems, files = shelf_problems(folder)
        done.problems += problems
        done.files += files
        done.notes += [f"{folder / n} {why}" for n, why in PLAIN.items() if (folder / n).exists()]
    if (path / "files.sha256").is_file():
        done.notes.append(
            f"{path / 'files.sha256'} only saves time: a line that changed is read past"
        )
    return done
