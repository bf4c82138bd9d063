"""Tensors of the pretend GPU: real numbers, a device that says cuda:0, and what each step costs.

To PyTorch's C++ such a tensor lies on the meta device, which autograd, vmap and the dispatcher take
on a machine without a GPU; Python sees cuda:0 (`pretend_gpu`). Every operation comes through
`run`, which refuses what CUDA refuses and writes down what makes the host wait.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CUDA = torch.device("cuda", 0)
ROOT = str(Path(__file__).resolve().parents[1])
OURS = tuple(f"{ROOT}/{part}/" for part in ("semi", "models", "noise", "pseudo_label"))
ITSELF = ("/pretend_tensor.py", "/pretend_gpu.py", "/pretend_attention.py")
true_device = torch._C.TensorBase.device.__get__  # what C++ says: cpu or meta

WAITS = {  # the host reads a number off the device: a size, a check of the input, an error flag
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal",
    "unique_consecutive", "bincount", "is_nonzero", "_linalg_eigh", "_linalg_svd", "linalg_lstsq",
    "_linalg_check_errors", "histc",
}  # fmt: skip
COPIES = {"_to_copy", "copy_"}
INDEXED = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"}
NO_KERNEL = {  # beside views: only a shape or memory is made
    "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view",
    "detach", "alias", "lift", "lift_fresh", "_local_scalar_dense", "_reshape_alias",
}  # fmt: skip


class Mismatch(RuntimeError):
    """What CUDA refuses: tensors or generators of two devices in one operation."""


class Work:
    """What was asked of the pretend GPU, by the line of ours that asked."""

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()  # place -> kernels
        self.waits: Counter[tuple[str, str]] = Counter()  # (kind, place) -> times the host waited
        self.copies: Counter[tuple[str, str]] = Counter()  # copies that nobody waits for
        self.pinned: dict[int, Any] = {}  # address -> storage of page-locked host memory
        self.recording: Any = None  # the PretendGraph that operations are written into

    def launch(self) -> None:
        """Counts a kernel."""
        self.launches[place()] += 1

    def wait(self, kind: str) -> None:
        """Counts a moment at which the host stands still until the device is done."""
        if self.recording is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing ({kind})")
        self.waits[kind, place()] += 1

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns the host tensor, its memory page-locked from now on."""
        storage = tensor.untyped_storage()
        self.pinned[storage.data_ptr()] = storage
        return tensor

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Returns whether a host tensor lies in page-locked memory."""
        return tensor.untyped_storage().data_ptr() in self.pinned

    def upload(self, tensor: torch.Tensor, non_blocking: Any) -> None:
        """Counts a copy to the device: without a wait only from page-locked memory.

        From any other memory the driver copies into a buffer of its own first, in its own time.
        """
        if non_blocking and self.is_pinned(tensor):
            self.copies["upload", place()] += 1
        else:
            self.wait("upload")

    def table(self) -> str:
        """Returns the waits, most frequent first, one a line."""
        return "\n".join(f"{n:6d} {kind:12s} {at}" for (kind, at), n in self.waits.most_common())


def place() -> str:
    """Returns file:line function of our code that is running, or of whoever else called torch."""
    frame, other = sys._getframe(1), "?"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS):
            return f"{name[len(ROOT) + 1 :]}:{frame.f_lineno} {frame.f_code.co_name}"
        if other == "?" and "/torch/" not in name and not name.endswith(ITSELF):
            other = f"{name.rpartition('/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return other


class PretendTensor(torch.Tensor):
    """A tensor on the pretend GPU; `data_` holds its numbers."""

    work: Work  # of the GPU that is switched on
    data_: torch.Tensor
    made_on: Any  # stream
    stream_of_this_thread: Any

    @staticmethod
    def __new__(cls, data: torch.Tensor) -> PretendTensor:
        assert not isinstance(data, PretendTensor)
        made = torch.Tensor._make_wrapper_subclass(
            cls, data.size(), strides=data.stride(), storage_offset=data.storage_offset(),
            dtype=data.dtype, layout=data.layout, device="meta", requires_grad=False,
        )  # fmt: skip
        made.data_ = data
        made.made_on = cls.stream_of_this_thread()
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.data_!r})"

    def __deepcopy__(self, memo: dict) -> torch.Tensor:
        copy = PretendTensor(self.data_.clone()).requires_grad_(self.requires_grad)
        memo[id(self)] = copy
        return copy

    def numpy(self, *_: Any, **__: Any):
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")

    __array__ = numpy


def on_gpu(device: Any) -> bool:
    """Returns whether a device is the pretend GPU, by its name for Python or for C++."""
    if device is None:
        return False
    return isinstance(device, int) or torch.device(device).type in ("cuda", "meta")


def run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Returns the result of one operation of ATen, on the numbers of pretend tensors."""
    flat, spec = tree_flatten((args, kwargs))
    ours = [x for x in flat if isinstance(x, PretendTensor)]
    host = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, PretendTensor)]
    device = kwargs.get("device")
    lands = on_gpu(device) if device is not None else bool(ours)
    if not ours and not lands:
        return func(*args, **kwargs)
    name, work = func._schema.name.split("::")[-1], PretendTensor.work
    stream = PretendTensor.stream_of_this_thread()
    if any(x.made_on not in stream.behind for x in ours):
        raise Mismatch(f"{name} reads what another stream makes, without waiting ({place()})")
    if any(true_device(x).type == "meta" for x in host):
        raise AssertionError(f"a bare meta tensor came to {name} at {place()}")
    if name in COPIES:
        _copied(name, args, kwargs, ours, lands)
    elif ours:
        _refuse_host(name, args, host)
    if ours and (name in WAITS or _masked(name, args)):
        work.wait("size" if name not in WAITS or name == "nonzero" else name.strip("_"))
    if not func.is_view and name not in NO_KERNEL:
        work.launch()
    args_, kwargs_ = tree_unflatten(
        [x.data_ if isinstance(x, PretendTensor) else x for x in flat], spec
    )
    if lands and device is not None:
        kwargs_["device"] = torch.device("cpu")
    kwargs_ |= {"pin_memory": False} if kwargs_.get("pin_memory") else {}
    if work.recording is not None:
        work.recording.keep_written(func, args_, kwargs_)
    out = func(*args_, **kwargs_)
    if work.recording is not None and not func.is_view:
        work.recording.write(lambda: func(*args_, **kwargs_), out)
    if torch.Tag.inplace_view in func.tags:  # such as squeeze_: C++ must see the new shape, too
        with no_dispatch():
            func(*args, **kwargs)
    if name == "copy_":
        return args[0]
    if not lands:
        return out
    known = {id(x.data_): x for x in ours}  # written in place: the tensor that was given

    def wrap(x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        return known[id(x)] if id(x) in known else PretendTensor(x)

    return tree_map(wrap, out)


def _copied(name: str, args: tuple, kwargs: dict, ours: list, lands: bool) -> None:
    """Counts a copy between host and device."""
    work = PretendTensor.work
    if name == "_to_copy":
        if ours and kwargs.get("device") is not None and not lands:
            work.wait("download")
        if not ours:
            work.upload(args[0], kwargs.get("non_blocking"))
        return
    into, source = args[0], args[1]
    free = args[2] if len(args) > 2 else kwargs.get("non_blocking")
    if not isinstance(source, PretendTensor):
        work.upload(source, free)
    elif not isinstance(into, PretendTensor):
        if free and work.is_pinned(into):
            work.copies["download", place()] += 1
        else:
            work.wait("download")


def _refuse_host(name: str, args: tuple, host: list) -> None:
    """Raises Mismatch where a host tensor is mixed in; host numbers and host indices may be."""
    values = args[:1] if name in ("index", "_unsafe_index") else (*args[:1], *args[2:3])
    for x in host:
        if x.dim() == 0:
            if name in ("where", "index_put_", "index_put", "_index_put_impl_"):
                PretendTensor.work.wait("upload")  # the number is copied to the device first
        elif name in INDEXED and not any(x is value for value in values):
            PretendTensor.work.wait("upload")
        else:
            raise Mismatch(
                f"Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and cpu! ({name} at {place()})"
            )


def _masked(name: str, args: tuple) -> bool:
    """Returns whether rows are chosen by a mask, so that the host must learn how many there are."""
    index = args[1] if name in INDEXED and len(args) > 1 else ()
    return any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in index)
