"""A run directory: create, resume, open, lock; the unit of everything done after training."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .. import files
from ..checksums import CHECKSUMS, refuse_newer, seal
from ..config.paths import absolute, check_places, found_again
from ..config.schema import Config, load_config, save
from ..data.reviewed import GOLD_REVIEWS
from ..data.reviews import REVIEWS, read_reviews
from ..data.wording import counted
from ..errors import RunError, is_full_disk, os_sentence, reading, writing
from ..files import write_dir, write_text
from ..hub_names import refuse_hub_name
from .checksum_chain import (
    APPENDED,
    chain_link,
    mark_begun,
    round_folder,
    round_numbers,
)
from .integrity import check_run
from .lock import FileLock, lock_of, unlock
from .resumed import COMMITTEE, RECIPE, SCALING, refuse_other_settings, taken_over


class Run:
    """The folder `runs/<name>/`.

    config.yaml, manifest.sha256, splits.csv, round-00/ ..., ledger.csv/.parquet, metrics.jsonl,
    result.json, tb/, report.html, model/, checksums.json. Every file appears whole, and a
    round's folder never changes.

    Expected usage:

        with Run.create(config, resume=True) as run:      # one process at a time
            run.bind_manifest(manifest.sha256)
            for number in range(len(run.rounds()), 4):
                with run.write_round(number) as folder:
                    write_json(folder / "round.json", {...})
        run = Run.open("runs/demo")                        # to read; takes no lock
    """

    def __init__(
        self, path: Path, config: Config, lock: FileLock | None = None, resumed: bool = False
    ):
        self.path = path
        self.config = config
        self.resumed = resumed  # the folder held this run before
        self._lock = lock

    @classmethod
    def create(cls, config: Config, *, resume: bool = False) -> Run:
        """Returns the locked run of a config: a new one or, with `resume`, the one begun before."""
        path, config = Path(config.runs_dir, config.name), absolute(config)
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; a run needs a folder there, so choose another name")
        begun = (path / "config.yaml").is_file()
        if not begun and path.is_dir() and any(p for p in path.iterdir() if not _ours(p)):
            raise RunError(
                f"{path} exists and is not a run (it has no config.yaml); choose another name="
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = lock_of(path)
        except OSError as error:
            if is_full_disk(error) and error.errno != errno.EROFS:
                raise RunError(os_sentence(error, path, "written")) from error
            raise RunError(
                f"{path} cannot be written ({error.strerror}); set runs_dir to a folder where you "
                "may write"
            ) from None
        try:
            begun = (path / "config.yaml").is_file()  # by now the other process may have written it
            if begun and not resume:
                done = "a finished run; "
                if not (path / "result.json").is_file():
                    done = "an unfinished run; continue it with --resume, "
                raise RunError(
                    f"{path} already holds {done}choose another name=..., or delete the folder"
                )
            if begun:
                check_run(path)
                config = taken_over(path, config)
                refuse_other_settings(path, config)
            files.sweep(path)
            if not begun:
                save(config, path / "config.yaml")
                mark_begun(path)
        except BaseException:
            unlock(lock)
            raise
        run = cls(path, config, lock, resumed=begun)
        run._mend_metrics()
        return run

    @classmethod
    def open(cls, path: str | Path, places: Sequence[str] = ()) -> Run:
        """Returns an existing run, to read.

        Args:
            path: its folder.
            places: where its data are now, such as data.manifest=moved/table.csv.
        """
        path = Path(path)
        if not (path / "config.yaml").is_file():
            refuse_hub_name(path)
            there = "has no config.yaml" if path.is_dir() else "no such folder"
            others = sorted(p.parent.name for p in path.parent.glob("*/config.yaml"))
            hint = f"; runs there: {', '.join(others[:8])}" if others else ""
            raise RunError(f"{path} is not a run: {there}{hint}")
        refuse_newer(path)
        words = check_places(places)
        config = load_config(path / "config.yaml", words, elsewhere=True)
        return cls(path, found_again(config, path), resumed=True)

    @staticmethod
    def remove(path: str | Path) -> None:
        """Deletes a run's folder; refuses what is not a run and what another process writes."""
        path = Path(path)
        if not path.exists():
            return
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path} is not a run (it has no config.yaml); it is not deleted")
        if given := len(read_reviews(path / REVIEWS)):
            raise RunError(
                f"{path / REVIEWS} holds {counted(given, 'review')} by people, so {path} is not "
                "deleted; move that file elsewhere first, or choose another name=..."
            )
        lock = lock_of(path)
        try:
            shutil.rmtree(path)
        finally:
            unlock(lock)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes write here."""
        unlock(self._lock)
        self._lock = None

    def go_on(self) -> None:
        """Writes down that a resumed run is at work; to be called when nothing refuses it any more.

        Before that a finished run stays finished: a refusal changes nothing.
        """
        if self.resumed:
            mark_begun(self.path)

    def take_back(self) -> None:
        """Removes a run that failed before anything was trained, so that its name is free again."""
        if self.resumed or self.rounds():
            return
        for name in (
            "config.yaml",
            "manifest.sha256",
            COMMITTEE,
            RECIPE,
            SCALING,
            GOLD_REVIEWS,
            CHECKSUMS,
            ".lock",
        ):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's file is left alone
            self.path.rmdir()

    def settle(self, config: Config, sentence: str, file: str = RECIPE) -> None:
        """Writes down what an auto decided from the data, and why; before any round."""
        # the sentence last: whoever finds it may go on with these settings, also after a kill
        save(config, self.path / "config.yaml")
        write_text(self.path / file, sentence + "\n")
        self.config = config

    def settled(self, file: str = RECIPE) -> str:
        """Returns why the settings are what they are, if an auto decided that from the data."""
        source = self.path / file
        return source.read_text(encoding="utf-8").strip() if source.is_file() else ""

    def manifest_sha256(self) -> str:
        """Returns the SHA-256 of the manifest that the run was begun with, '' if unknown."""
        source = self.path / "manifest.sha256"
        if not source.is_file():
            return ""
        with reading(source, "the SHA-256 of a manifest", "bring it back from a copy"):
            return source.read_text(encoding="utf-8").strip()

    def need_manifest(self) -> None:
        """Raises RunError where the run's table of utterances is not where it was."""
        manifest = self.config.data.manifest
        if not Path(manifest).exists():  # a folder is a table, too
            raise RunError(
                f"the table that {self.path} was trained on is gone: {manifest}; bring it "
                "back, or name its new place with data.manifest=..."
            )

    def bind_manifest(self, sha256: str) -> None:
        """Writes the manifest's hash down, or refuses to go on with another manifest."""
        before = self.manifest_sha256()
        if not before:
            write_text(self.path / "manifest.sha256", sha256 + "\n")
        elif before != sha256:
            raise RunError(
                f"the manifest changed since {self.path} began (SHA-256 {before[:12]}..., now "
                f"{sha256[:12]}...); restore it, or start a new run with another name=..."
            )

    # --- rounds ---

    def round_dir(self, number: int) -> Path:
        """Returns the folder of a round, written or not."""
        return round_folder(self.path, number)

    def rounds(self) -> list[int]:
        """Returns the numbers of the rounds that are completely written, in order."""
        return round_numbers(self.path)

    @contextmanager
    def write_round(self, number: int, features: str = "") -> Iterator[Path]:
        """Gives a temporary folder that becomes the round's folder when all is written.

        Its checksums go with it, tied to those of the round before and to the SHA-256 of the
        features.
        """
        link = chain_link(self.path, number, features)
        with write_dir(self.round_dir(number)) as folder:
            yield folder
            seal(folder, **link)

    # --- results ---

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends one line to metrics.jsonl."""
        line = json.dumps(files.jsonable(record), ensure_ascii=False) + "\n"
        path = self.path / APPENDED
        with writing(path), open(path, "a", encoding="utf-8") as target:
            target.write(line)
            target.flush()
            os.fsync(target.fileno())

    def metrics(self) -> list[dict]:
        """Returns the records of metrics.jsonl."""
        source = self.path / APPENDED
        if not source.is_file():
            return []
        with reading(source, "lines of JSON", "bring it back from a copy"):
            return [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]

    def _mend_metrics(self) -> None:
        """Drops a half-written last line and the lines of rounds that were never finished."""
        source = self.path / APPENDED
        if not source.is_file():
            return
        done, kept = set(self.rounds()), []
        for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                number = json.loads(line).get("round")
                known = number is None or number in done
            except (ValueError, AttributeError, TypeError, RecursionError):
                continue
            if known:
                kept.append(line)
        write_text(source, "".join(line + "\n" for line in kept))


def _ours(path: Path) -> bool:
    return path.name == ".lock" or path.name.startswith(files.TEMPORARY)
