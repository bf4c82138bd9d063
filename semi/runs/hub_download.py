"""A run's model that stands on the Hugging Face hub: its four files, into the hub's own cache.

Safetensors, JSON and the settings' YAML are fetched by their names; whatever else a repository
holds stays there. The files are checked by their SHA-256 before anything is read from them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..checksums import CHECKSUMS, NewerFormatError
from ..data.wording import counted, listed
from ..errors import RunError
from ..hub_names import HubName, hub_name
from ..self_training.integrity import check_model
from ..self_training.model_dir import MODEL_JSON, SETTINGS, TENSORS, find_model
from .hub_errors import asked, hub, is_unreachable

FILES = (TENSORS, MODEL_JSON, SETTINGS, CHECKSUMS)
PATTERNS = [*FILES, *(f"model/{name}" for name in FILES)]  # a run's whole folder has it below


def model_folder(run: str | Path) -> Path:
    """Returns the folder of a run or model of this machine, or of the hub's model fetched to it."""
    name = hub_name(run)
    return Path(run) if name is None else fetched(name)


def fetched(name: HubName) -> Path:
    """Returns the model directory of a hub model in the cache; fetches what the cache lacks.

    Without a network, or where the hub is down, what was fetched before is taken. RunError where
    it cannot be had, is no model of semi, or is not as it was written.
    """
    info = _described(name)
    if info is not None:
        _announce(name, info)
    how: dict[str, Any] = {"revision": name.revision or None, "local_files_only": info is None}
    fetch = hub().snapshot_download
    folder = Path(asked(name, lambda: fetch(name.repo, allow_patterns=PATTERNS, **how)))
    try:
        home = find_model(folder)
    except RunError:
        raise _no_model(name, sorted(f.name for f in folder.iterdir())) from None
    _check(name, home)
    return home


def _described(name: HubName) -> Any:
    """Returns what the hub says of a model and its files; None where it cannot be asked."""
    ask = hub().model_info
    revision = name.revision or None
    try:
        info = asked(name, lambda: ask(name.repo, revision=revision, files_metadata=True))
    except RunError as error:
        if is_unreachable(error.__cause__):
            return None
        raise
    names = [file.rfilename for file in info.siblings or []]
    for below in ("", "model/"):
        if below + MODEL_JSON in names and below + TENSORS in names:
            return info
    raise _no_model(name, names)


def _no_model(name: HubName, files: list[str]) -> RunError:
    """Returns what is said of a repository that holds something else."""
    remedy = "name one that semi push made"
    if "config.json" in files:
        remedy += f", or, where it is an encoder, set encoders.speech.model={name.repo} to train"
    holds = listed(files, 4) if files else "nothing"
    return RunError(
        f"{name} is no model of semi: it lacks {MODEL_JSON} and {TENSORS} (it holds {holds}); "
        f"{remedy}"
    )


def _announce(name: HubName, info: Any) -> None:
    """Says on stderr what is fetched, and how large it is, unless the cache has it."""
    from huggingface_hub import try_to_load_from_cache

    def is_new(file: str) -> bool:
        return not isinstance(try_to_load_from_cache(name.repo, file, revision=info.sha), str)

    wanted = [file for file in info.siblings if file.rfilename in PATTERNS]
    new = [file for file in wanted if is_new(file.rfilename)]
    if new:
        total = readable_size(sum(file.size or 0 for file in new))
        files = counted(len(new), "file")
        print(f"semi: fetching {name} ({info.sha[:8]}): {files}, {total}", file=sys.stderr)


def readable_size(size: int) -> str:
    """Returns 900 bytes, 1.2 kB, 3.4 MB, 5.6 GB."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes everything")


def _check(name: HubName, home: Path) -> None:
    """Raises RunError where a fetched file is not as it was written, with what to do about it."""
    from huggingface_hub import constants

    try:
        check_model(home)
    except NewerFormatError:
        raise
    except RunError as error:
        cache = Path(constants.HF_HUB_CACHE, f"models--{name.repo.replace('/', '--')}")
        raise RunError(
            f"{name} is not as it was written: {str(error).partition(';')[0]}; delete {cache}, and "
            "it is fetched again, or, where it is so on the hub as well, tell its owner"
        ) from error
