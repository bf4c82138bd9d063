"""Finding pretrained weights: a local folder or a hub name becomes a folder with an identity."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from .base import EncoderUnavailable
from .folder_checks import SMALL_FILES, WEIGHT_FILES, check_folder, read_json
from .names import refuse_near_miss

CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt", ".th", ".safetensors")
FUNASR = ("model.pt", "config.yaml")
# Asked of transformers every time: no network, and no Python that a folder brings along.
OFFLINE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@dataclass
class HubSource:
    """A pretrained model on this disk."""

    name: str  # as the user wrote it
    folder: Path  # config, weights, tokenizer
    identity: dict[str, Any]  # hub name and commit, or the hash of the folder's files
    setting: str  # the dotted key of the setting that names it, for error sentences


def find(model: str, revision: str = "", *, setting: str = "encoders.speech.model") -> HubSource:
    """Returns the folder of a local or hub model; EncoderUnavailable where it cannot be had."""
    path = Path(model).expanduser()
    if path.is_dir():
        check_folder(path, model, setting)
        return HubSource(model, path, {"sha256": folder_sha256(path)}, setting)
    if not is_hub_name(model):
        raise EncoderUnavailable(
            f"{setting}={model} is not a folder; give the folder that holds config.json and "
            f"model.safetensors, or a Hugging Face name such as facebook/hubert-large-ll60k"
        )
    refuse_near_miss(model, setting)
    folder = _download(model, revision, setting)
    check_folder(folder, model, setting)
    commit = folder.name  # the hub cache keeps each commit in a folder of its name
    return HubSource(model, folder, {"model": model, "revision": commit}, setting)


def is_file_name(model: str) -> bool:
    """Says whether a model is one file: it is there, or its name ends like a checkpoint's."""
    path = Path(model).expanduser()
    return path.is_file() or (path.suffix.lower() in CHECKPOINTS and not path.is_dir())


def is_hub_name(model: str) -> bool:
    """Says whether a model that is no folder here would be looked for on the hub."""
    path = Path(model).expanduser()
    if is_file_name(model):
        return False
    return not (path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1)


def find_funasr(model: str, revision: str = "", *, setting: str) -> tuple[Path, dict[str, Any]]:
    """Returns the folder of a model as FunASR publishes it, here or on the hub, and an identity."""
    path = Path(model).expanduser()
    if path.is_dir():
        files = sorted(f for name in FUNASR for f in path.glob(name))
        return path, {f.name: file_sha256(f) for f in files}
    folder = _download(model, revision, setting, groups=(FUNASR,))
    if not (folder / FUNASR[0]).is_file():
        raise EncoderUnavailable(f"{setting}={model} has no {FUNASR[0]}; give a local folder")
    return folder, {"model": model, "revision": folder.name}


def _download(
    model: str, revision: str, setting: str, groups: tuple[tuple[str, ...], ...] = WEIGHT_FILES
) -> Path:
    """Returns the hub's snapshot folder, from the cache where it is there.

    `groups` are the names that weights may have; the first group that is there is enough.
    """
    from huggingface_hub import snapshot_download

    def fetch(patterns: tuple[str, ...], **how: Any) -> Path:
        wanted = [*SMALL_FILES, *patterns]
        return Path(
            snapshot_download(model, revision=revision or None, allow_patterns=wanted, **how)
        )

    def whole(folder: Path) -> bool:
        return any(any(folder.glob(pattern)) for group in groups for pattern in group)

    if revision:  # a commit or tag that is cached needs no network
        with contextlib.suppress(Exception):
            folder = fetch((), local_files_only=True)
            if whole(folder) and (groups != WEIGHT_FILES or (folder / "config.json").is_file()):
                return folder
    try:
        for patterns in groups:  # safetensors first; the older format only if there is none
            folder = fetch(patterns)
            if whole(folder):
                break
        return folder
    except Exception as error:
        reason = _first_sentence(error)
        raise EncoderUnavailable(
            f"the weights of {model} cannot be had ({reason}); connect to the network once, or "
            f"give a local folder: {setting}=/path/to/folder"
        ) from error


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def folder_sha256(folder: Path) -> str:
    """Returns one hash of a model folder's files that change the numbers, whatever their age."""
    names = {p for patterns in ((*SMALL_FILES, *sum(WEIGHT_FILES, ())),) for p in patterns}
    files = sorted({file for pattern in names for file in folder.glob(pattern)})
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def file_sha256(path: Path | str) -> str:
    """Returns the hash of a file's bytes; read again only when its size or time has changed."""
    path = Path(path).resolve()
    stat = path.stat()
    return _file_sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_sha256(path: str, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def load_config(source: HubSource) -> Any:
    """Returns the model's transformers configuration, without its weights."""
    with _explained(source):
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(source.folder, **OFFLINE)


def load_json(source: HubSource, name: str) -> dict[str, Any]:
    """Returns a JSON file of the model folder, empty where it has none."""
    return read_json(source.folder / name, f"{source.setting}={source.name}")


def load_list(source: HubSource, name: str) -> list[Any]:
    """Returns a JSON list of the model folder, empty where it has none."""
    return read_json(source.folder / name, f"{source.setting}={source.name}", list)


def load_weights(source: HubSource, loader: str, needed: str = "") -> Any:
    """Returns the model in float32 and eval mode, its weights under `needed` all really loaded.

    `loader` names a class below `transformers`. Where weights are missing transformers fills in
    random numbers and warns; here that is an error.
    """
    with _explained(source), quiet():
        module, _, name = f"transformers.{loader}".rpartition(".")
        model, info = getattr(import_module(module), name).from_pretrained(
            source.folder, dtype=torch.float32, output_loading_info=True, **OFFLINE
        )
    missing = [k for k in info["missing_keys"] if k.startswith(needed) and not _unused(k)]
    wrong = [entry[0] for entry in info["mismatched_keys"]]
    if missing or wrong:
        names = ", ".join(sorted([*missing, *wrong])[:3])
        raise EncoderUnavailable(
            f"{source.setting}={source.name} does not hold {len(missing) + len(wrong)} of the "
            f"encoder's weights ({names} ...); give a folder or hub model of a whole encoder"
        )
    beyond = _beyond(info["unexpected_keys"], model)
    if beyond:
        raise EncoderUnavailable(
            f"{source.setting}={source.name} holds {len(beyond)} weights of layers that its "
            f"config.json does not count ({beyond[0]} ...); put back the config.json that belongs "
            f"to them"
        )
    bad = [n for n, v in model.named_parameters() if n.startswith(needed) and not _finite(v)]
    if bad:
        raise EncoderUnavailable(
            f"{source.setting}={source.name} holds NaN or infinity in {len(bad)} of its weights "
            f"(first: {bad[0]}), so its vectors would be no numbers; download it again, or take "
            f"an earlier checkpoint"
        )
    return model.eval()


def _beyond(unexpected: Iterable[str], model: Any) -> list[str]:
    """Returns the weights left over that are the model's own but for the number of their layer."""
    own = {re.sub(r"\d+", "#", name) for name in model.state_dict()}
    prefix = f"{model.base_model_prefix}."
    left = [(name, re.sub(r"\d+", "#", name.removeprefix(prefix))) for name in unexpected]
    return sorted(name for name, form in left if "#" in form and form in own)


def _finite(weight: torch.Tensor) -> bool:
    return bool(weight.isfinite().all())


def load_tokenizer(source: HubSource) -> Any:
    """Returns the model's tokenizer."""
    with _explained(source), quiet():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(source.folder, **OFFLINE)


def _unused(key: str) -> bool:
    """Returns whether a weight plays no part in the features: masking of training, poolers."""
    return key.endswith("masked_spec_embed") or key.startswith("pooler.") or "position_ids" in key


@contextlib.contextmanager
def _explained(source: HubSource) -> Iterator[None]:
    """Turns what transformers raises into one sentence."""
    with foreign_torchaudio(source.name):
        try:
            yield
        except Exception as error:
            if _blames_torchaudio(error):
                raise
            raise EncoderUnavailable(
                f"{source.setting}={source.name} cannot be loaded ({_first_sentence(error)})"
            ) from error


@contextlib.contextmanager
def foreign_torchaudio(name: str) -> Iterator[None]:
    """Says so in one sentence when a torchaudio made for another torch stops transformers."""
    try:
        yield
    except Exception as error:
        if not _blames_torchaudio(error):
            raise
        raise EncoderUnavailable(
            f"{name} cannot be loaded because the installed torchaudio does not fit torch "
            f"{torch.__version__} and transformers stops on it; it is not needed here: "
            f"pip uninstall torchaudio"
        ) from error


def _blames_torchaudio(error: BaseException | None) -> bool:
    """Returns whether a missing CUDA library or torchaudio is behind an error."""
    if error is None:
        return False
    words = ("torchaudio", "libcudart", "libc10_cuda", "libtorch_cuda")
    behind = error.__cause__ or error.__context__
    return any(word in str(error) for word in words) or _blames_torchaudio(behind)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Mutes transformers' loading report and bar: what matters in them is raised as an error."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
