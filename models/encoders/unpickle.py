"""Reading a checkpoint file in which nothing can run.

A .pt file is a pickle, and a pickle may name any function to be called while it loads. Here only
tensors and plain containers come to life; the settings objects of fairseq, omegaconf and argparse
become inert dictionaries, and any other name refuses the file.
"""

from __future__ import annotations

import os
import pickle
import sys
import tarfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import _utils

from .lfs import is_lfs_pointer, pulled_by


class CheckpointError(ValueError):
    """A checkpoint file cannot be read, or is refused; one sentence."""


class Inert(dict):
    """What a settings object of another library becomes: its state as a dictionary, no code."""

    module = ""  # where the class it stands for would have come from
    arguments: tuple = ()  # what it was made from: the value of an enum member, for instance

    def __new__(cls, *arguments: Any, **keywords: Any) -> Inert:
        """Returns an empty one, whatever it is made from."""
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__()
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """Keeps the state of the pickled object, slots included."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)

    def append(self, item: Any) -> None:
        """Ignores what a pickle appends."""

    def extend(self, items: Any) -> None:
        """Ignores what a pickle appends."""

    def add(self, item: Any) -> None:
        """Ignores what a pickle adds."""

    def __hash__(self) -> int:
        """Returns its identity: an enum member may be a key."""
        return id(self)


class Maker:
    """One of torch's functions, to be called and not altered.

    A pickle may set attributes of what it can name, and a function's are the whole process's.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        """Returns what the function makes of the arguments."""
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuses."""
        raise CheckpointError(f"it sets {name} of a function, which no checkpoint needs")


TENSORS = {
    **{
        ("torch._utils", name): Maker(getattr(_utils, name))
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
    },
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    **{("torch", name): kind for name, kind in vars(torch).items() if type(kind) is torch.dtype},
}
BUILTINS = ("builtins", "__builtin__")  # Python 3, and 2 as pickle's second protocol writes it
CONTAINERS = {
    ("collections", "OrderedDict"): OrderedDict,
    **{
        (module, kind.__name__): kind
        for module in BUILTINS
        for kind in (dict, list, tuple, set, frozenset)
    },
}
# Settings and numbers that other libraries leave in a checkpoint. Nothing of theirs is imported.
SETTINGS = (
    "fairseq",
    "omegaconf",
    "examples",
    "numpy",
    "typing",
    "s3prl",
    "emotion2vec",
    "upstream",
)
SETTINGS_NAMES = {
    ("argparse", "Namespace"),
    ("collections", "defaultdict"),
    ("collections", "Counter"),
    ("copyreg", "_reconstructor"),
    ("copy_reg", "_reconstructor"),
    ("operator", "getitem"),  # how typing's List[int] is pickled
    ("_operator", "getitem"),
    ("_codecs", "encode"),  # how bytes are
    *((m, n) for m in BUILTINS for n in ("int", "float", "complex", "bool", "str", "bytes")),
    *((m, n) for m in BUILTINS for n in ("object", "unicode", "long")),
}


class Unpickler(pickle.Unpickler):
    """Brings tensors and containers to life, makes settings inert, refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for `module.name` in the file."""
        known = TENSORS.get((module, name)) or CONTAINERS.get((module, name))
        if known is not None:
            return known
        if module.split(".")[0] in SETTINGS or (module, name) in SETTINGS_NAMES:
            return type(name.rpartition(".")[2], (Inert,), {"module": module})
        raise CheckpointError(
            f"it asks for {module}.{name}, and a checkpoint may hold only tensors, plain "
            "containers and settings; loading it elsewhere could run code"
        )


def load(file: Any, **options: Any) -> Any:
    """Returns the next object of an open file; torch.load calls this for its old format."""
    return Unpickler(file, **options).load()


def load_inert(path: str | os.PathLike[str]) -> Any:
    """Returns what a .pt file holds, tensors on the CPU, without running anything it names."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a downloaded checkpoint")
    if is_lfs_pointer(path):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the file itself; {pulled_by(path)}"
        )
    with path.open("rb") as file:
        start = file.read(9)
    zipped = start[:4] == b"PK\x03\x04"  # as torch.load tells its two formats apart
    try:
        if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
            raise CheckpointError(
                "it is a safetensors file, which holds weights without settings; give the folder "
                "in which it lies beside its config.json"
            )
        # Asked of torch's own reader: on this answer torch.load would go over to torch.jit.load.
        if zipped and "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
            raise CheckpointError("it is a TorchScript archive, which is code")
        if not zipped and tarfile.is_tarfile(path):
            raise CheckpointError("it is a tar archive of before 2018, which is not read here")
        # This module stands in for `pickle`: every name in the file passes through find_class
        # above. weights_only would refuse fairseq's settings instead of making them inert.
        return torch.load(
            str(path),
            map_location="cpu",
            mmap=zipped,  # optimiser states are never read, only what is used
            weights_only=False,
            pickle_module=sys.modules[__name__],
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path} was refused: {error}") from None
    except Exception as error:  # a damaged or hostile file may fail in any way
        first = (str(error).splitlines() or [""])[0]
        raise CheckpointError(
            f"{path} is damaged or not a PyTorch checkpoint ({type(error).__name__}: {first}); "
            "download it again"
        ) from None


def plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """Returns settings as plain dictionaries, lists and scalars.

    omegaconf keeps a container's content under `_content` and a scalar under `_val`; an enum
    member becomes the value it was made from. What stands in many places is made plain once (in
    `done`, by identity), or a small file could ask for more than any memory holds.
    """
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    found = value
    if isinstance(value, Inert) and (kept := [k for k in ("_content", "_val") if k in value]):
        found = plain(value[kept[0]], done)
    elif isinstance(value, Inert) and not value and value.arguments:
        found = plain(value.arguments[0], done)
    elif isinstance(value, dict):
        found = {plain_key(key): plain(item, done) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        found = [plain(item, done) for item in value]
    done[id(value)] = found
    return found


def plain_key(key: Any) -> Any:
    """Returns a dictionary key that can be looked up."""
    return str(key.arguments) if isinstance(key, Inert) else key
