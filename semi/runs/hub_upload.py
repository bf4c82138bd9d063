"""A run's model and its card, put on the Hugging Face hub: `semi push RUN org/name`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..checksums import CHECKSUMS
from ..data.wording import listed
from ..errors import RunError, SemiError, reading
from ..evaluation.text import table
from ..files import read_json, write_dir, write_text
from ..hub_names import HubName, parsed
from ..self_training.model_dir import (
    MODEL_JSON,
    MODEL_SHAPE,
    SETTINGS,
    TENSORS,
    find_model,
    load_model,
    save_model,
)
from ..self_training.report import manifest_table
from ..self_training.run_dir import Run
from ..shapes import misfit
from .card_metadata import CardWords
from .hub_download import readable_size
from .hub_errors import asked, hub, is_missing
from .model_card import model_card, run_of
from .published_model import local_encoders, published

CARD = "README.md"
CONTENTS = {
    TENSORS: "parameters and scaling", MODEL_JSON: "classes, calibration, encoders",
    SETTINGS: "settings", CHECKSUMS: "SHA-256 of these three", CARD: "the model card",
}  # fmt: skip
KEPT_BACK = (
    "not among them: the table, sounds, texts, ids of utterances and speakers, labels of rows, the "
    "ledger, features, paths of this machine"
)
# What a repository may hold before it holds a model: the hub itself makes these for a new one.
OF_NO_WEIGHT = (".gitattributes", CARD, "LICENSE", "LICENSE.md", ".gitignore")


@dataclass
class Pushed:
    """What was uploaded, or would be, and where to."""

    name: str  # org/name
    where: str  # address on the hub, or the folder of a dry run
    files: dict[str, int]  # name -> bytes
    private: bool | None  # None: the repository was there, and stays as it is
    commit: str = ""  # '' of a dry run
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns each file with its size, and what was kept back."""
        rows = [[n, CONTENTS[n], readable_size(size)] for n, size in self.files.items()]
        kind = {True: "private", False: "public", None: "there before, as visible as it was"}
        head = (
            f"{self.name}: {kind[self.private]}, {self.where}, commit {self.commit[:8]}"
            if self.commit
            else f"{self.name}: nothing was uploaded; {self.where} holds what would be"
        )
        listing = table(["file", "what it holds", "size"], rows, left=2)
        return "\n".join([head, "", listing, "", KEPT_BACK, *self.notes])


def push(
    run: str | Path, name: str, *, private: bool = True, words: CardWords | None = None,
    card: str | Path = "", overwrite: bool = False, dry_run: str | Path = "",
    places: Sequence[str] = (),
) -> Pushed:  # fmt: skip
    """Uploads the model of a run and its card to the hub, as one commit on the main branch.

    The token is the one that huggingface_hub finds: HF_TOKEN, or what `hf auth login` kept.

    Args:
        run: folder of a finished run, or a model directory alone.
        name: org/name on the hub.
        private: of a repository that is made now; one that is there stays as visible as it was.
        words: licence, data set and languages for the card.
        card: a README.md in place of the card that is made here.
        overwrite: add to a repository that holds something else than a model of semi.
        dry_run: folder to write in place of uploading; "" = upload.
        places: where the run's data are now, if they have moved (for hours and languages).
    """
    target = parsed(name)
    if target.revision:
        raise RunError(f"{target}: an upload goes to the main branch; leave @ out")
    words = words or CardWords()
    written = read_card(card) if card else ""
    find_model(run)
    there = None if dry_run else _there(target, overwrite)  # a card takes long on many sounds
    text = written or card_of(run, words, name=target.repo, places=places)
    if dry_run:
        folder = Path(dry_run)
        notes = write_published(run, folder, text)
        return Pushed(target.repo, str(folder), _sizes(folder), private, notes=notes)
    with tempfile.TemporaryDirectory(prefix="semi-push-") as home:
        folder = Path(home, "model")
        notes = write_published(run, folder, text)
        sizes = _sizes(folder)
        commit = _upload(target, folder, there, private=private)
    where = f"{hub().endpoint}/{target.repo}"
    return Pushed(target.repo, where, sizes, None if there else private, commit, notes)


def write_published(run: str | Path, folder: Path, card: str) -> list[str]:
    """Writes the folder that is uploaded; returns what others lack to use it, in sentences."""
    model = load_model(run)
    notes = [
        f"the encoder of {name} is of this machine and is not uploaded: others need the same one"
        for name in local_encoders(model.config)
    ]
    with write_dir(folder) as target:
        save_model(target / "model", published(model))
        for file in (target / "model").iterdir():
            file.rename(target / file.name)
        (target / "model").rmdir()
        write_text(target / CARD, card)  # has no checksum: people go on writing it on the hub
    return notes


def card_of(
    run: str | Path, words: CardWords, *, name: str = "", places: Sequence[str] = ()
) -> str:
    """Returns the card of a run, with hours and languages where its table is at hand."""
    folder = run_of(find_model(run))
    rows = manifest_table(Run.open(folder, places))[0] if folder else None
    return model_card(run, words, name=name, table=rows)


def read_card(path: str | Path) -> str:
    """Returns a card that somebody wrote; RunError unless metadata stand at its top."""
    remedy = "begin with what semi card RUN -o README.md writes"
    try:
        with reading(path, "a model card in UTF-8", remedy):
            text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; {remedy}") from None
    with reading(path, "a model card with YAML between two lines of --- at its top", remedy):
        _, top, _ = text.split("---\n", 2)
        if not text.startswith("---\n") or not isinstance(yaml.safe_load(top), dict):
            raise ValueError("no metadata")
    return text


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in CONTENTS}


def _there(name: HubName, overwrite: bool) -> Any:
    """Returns what the hub says of a repository, None where there is none that we may see.

    RunError without a token or a network, and where it holds no model and is not to be added to.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise RunError(
            "HF_HUB_OFFLINE is set, so nothing can be uploaded; take it away, or write the folder "
            "with --dry-run"
        )
    if not get_token():
        raise RunError(
            "there is no token to upload with; log in with hf auth login, or set HF_TOKEN, or "
            "write the folder with --dry-run"
        )
    try:
        there = asked(name, lambda: hub().model_info(name.repo))
    except RunError as error:
        if is_missing(error.__cause__):
            return None
        raise
    if not overwrite:
        _refuse_other_contents(name, there)
    return there


def _refuse_other_contents(name: HubName, info: Any) -> None:
    """Raises RunError where a repository holds something, and that is no model of semi."""
    files = [file.rfilename for file in info.siblings or []]
    others = [file for file in files if file not in OF_NO_WEIGHT]
    if not others or (MODEL_JSON in others and _is_ours(name, info.sha)):
        return
    raise RunError(
        f"{name} on the hub holds no model of semi but {listed(others, 4)}; choose another name, "
        "or add to it all the same with --overwrite"
    )


def _is_ours(name: HubName, commit: str) -> bool:
    get = hub().hf_hub_download
    path = asked(name, lambda: get(name.repo, MODEL_JSON, revision=commit))
    try:
        return not misfit(read_json(path), MODEL_SHAPE)
    except SemiError:  # no JSON
        return False


def _upload(name: HubName, folder: Path, there: Any, *, private: bool) -> str:
    """Returns the commit that holds the files of a folder; makes the repository if need be."""
    from huggingface_hub import CommitOperationAdd

    client = hub()
    if there is None:
        asked(name, lambda: client.create_repo(name.repo, private=private, exist_ok=True))

    def commit() -> Any:
        files = [CommitOperationAdd(n, str(folder / n)) for n in CONTENTS]
        return client.create_commit(
            name.repo, files, commit_message="Model and card, written by semi",
            parent_commit=there.sha if there else None,
        )  # fmt: skip

    return str(asked(name, commit).oid)
