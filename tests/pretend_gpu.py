"""A pretend GPU for tests on machines without one.

    with pretend_gpu() as work:
        ...                       # device="cuda" works as it does on a GPU, with the CPU's numbers
    assert not work.waits         # (kind, file:line) -> how often the host waited for the device

Tensors of two devices in one operation are refused, as are generators of the other device and
what another stream made, unless it was waited for. What it
cannot tell: how fast anything is, what CUDA's own kernels round differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from pretend_attention import attention_stand_ins
from pretend_graph import PretendGraph, capture
from pretend_streams import stream_stand_ins
from pretend_tensor import CUDA, Mismatch, PretendTensor, Work, on_gpu, place, run, true_device
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

MADE = {  # tensors out of nothing, on the device that is named
    torch.arange, torch.zeros, torch.ones, torch.full, torch.empty, torch.eye, torch.rand,
    torch.randn, torch.randint, torch.randperm, torch.linspace, torch.logspace, torch.hann_window,
    torch.hamming_window, torch.scalar_tensor, torch.empty_strided, torch.normal,
    torch.tril_indices, torch.triu_indices,
}  # fmt: skip
GIVEN = {torch.tensor, torch.as_tensor, torch.asarray}  # tensors out of host values
HostGenerator = torch.Generator


@contextmanager
def pretend_gpu() -> Iterator[Work]:
    """Makes a GPU appear for a while; yields the account of what it is asked to do."""
    work = PretendTensor.work = Work()
    with ExitStack() as stack:
        for owner, name, value in _stand_ins(work):
            stack.enter_context(patch.object(owner, name, value, create=True))
        stack.enter_context(_Functions())
        stack.enter_context(_Operations())
        yield work


class PretendGenerator(HostGenerator):
    """A generator that says it belongs to the GPU."""

    device = property(lambda self: CUDA)


class _Generators(type):
    """`torch.Generator` for the time being: whatever generator there is, is one."""

    def __call__(cls, device: Any = "cpu") -> HostGenerator:
        return PretendGenerator() if on_gpu(device) else HostGenerator(device)

    def __instancecheck__(cls, given: Any) -> bool:
        return isinstance(given, HostGenerator)


class _Generator(metaclass=_Generators):
    pass


class _Operations(TorchDispatchMode):
    """Sends every operation through `run`, also those whose tensors are all on the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What Python's own functions do with devices, before C++ hears of them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if _without_numbers(args, kwargs):  # how transformers builds a model before it reads it
            with _disable_current_modes():
                return func(*args, **kwargs)
        self._check_generator(func, args, kwargs)
        if func in MADE or func in GIVEN:
            return self._made(func, args, kwargs)
        first = args[0] if args else None
        if func is torch.Tensor.to:
            return _to(first, *_wanted(args[1:], kwargs))
        if func is torch.Tensor.cuda:
            return _to(first, CUDA, None, kwargs)
        if func is torch.Tensor.pin_memory:
            if _here(first):
                raise RuntimeError("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors")
            return PretendTensor.work.pin(first.clone())
        if func is torch.Tensor.is_pinned:
            return not _here(first) and PretendTensor.work.is_pinned(first)
        if func is torch.Tensor.new_tensor and _here(first):
            made = torch.tensor(args[1], dtype=kwargs.get("dtype") or first.dtype)
            return _to(made, CUDA, None, {})
        if func is torch.Tensor.tolist and _here(first):
            return first.detach().cpu().tolist()
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and _here(first):
            raise TypeError(f"can't convert cuda:0 device type tensor to numpy ({place()})")
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and _here(first):
            args = (first, _as_tensors(args[1]), *args[2:])
        if on_gpu(kwargs.get("device")):
            kwargs["device"] = torch.device("meta")
        return func(*args, **kwargs)

    def _made(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> torch.Tensor:
        if not on_gpu(kwargs.get("device")):
            pin = kwargs.pop("pin_memory", False)
            made = func(*args, **kwargs)
            return PretendTensor.work.pin(made) if pin else made
        kwargs.pop("device")
        kwargs.pop("pin_memory", None)
        if func in GIVEN:
            made = func(*args, **kwargs)
            return made if _here(made) else _to(made, CUDA, None, {})
        learns = kwargs.pop("requires_grad", False)
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            data = func(*args, **kwargs)
        made, work = PretendTensor(data), PretendTensor.work
        work.launch()
        if work.recording is not None:
            work.recording.write(lambda: func(*args, **kwargs), data)
        return made.requires_grad_() if learns else made

    def _check_generator(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        """Raises Mismatch where a generator is of another device than what is drawn."""
        generator = kwargs.get("generator")
        if not isinstance(generator, HostGenerator):
            return
        first = next((x for x in args if isinstance(x, torch.Tensor)), None)
        there = on_gpu(kwargs.get("device")) if func in MADE or first is None else _here(first)
        if there != isinstance(generator, PretendGenerator):
            want, got = ("cuda", "cpu") if there else ("cpu", "cuda")
            raise Mismatch(
                f"Expected a '{want}' device type for generator but found '{got}' "
                f"({getattr(func, '__name__', func)} at {place()})"
            )


def _here(tensor: Any) -> bool:
    """Returns whether a tensor lies on the pretend GPU, also as vmap and grad wrap it."""
    if isinstance(tensor, PretendTensor):
        return True
    wrapped = isinstance(tensor, torch.Tensor) and torch._C._functorch.is_functorch_wrapped_tensor
    return bool(wrapped and wrapped(tensor) and true_device(tensor).type == "meta")


def _without_numbers(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Returns whether a call is about tensors that are meant to be on the meta device."""
    device = kwargs.get("device")
    if device is not None and not isinstance(device, int) and torch.device(device).type == "meta":
        return True
    first = args[0] if args else None
    bare = isinstance(first, torch.Tensor) and true_device(first).type == "meta"
    return bare and not _here(first)


def _as_tensors(index: Any) -> Any:
    """Returns an index whose lists and arrays are host tensors, which CUDA uploads as well."""
    if isinstance(index, tuple):
        return tuple(map(_as_tensors, index))
    return torch.as_tensor(index) if isinstance(index, (list, np.ndarray)) else index


def _wanted(rest: tuple, kwargs: dict[str, Any]) -> tuple[Any, torch.dtype | None, dict[str, Any]]:
    """Returns device, dtype and the other words of a call of `Tensor.to`."""
    words = dict(kwargs)
    device, dtype = words.pop("device", None), words.pop("dtype", None)
    if (like := words.pop("other", None)) is not None:
        device, dtype = like.device, like.dtype
    for given in rest:
        if isinstance(given, torch.Tensor):
            device, dtype = given.device, given.dtype
        elif isinstance(given, torch.dtype):
            dtype = given
        elif isinstance(given, bool):
            words["non_blocking"] = given
        elif given is not None:
            device = given
    return device, dtype, words


def _to(
    tensor: torch.Tensor, device: Any, dtype: torch.dtype | None, words: dict[str, Any]
) -> torch.Tensor:
    here = _here(tensor)
    there = here if device is None else on_gpu(device)
    if here == there and dtype in (None, tensor.dtype) and not words.get("copy"):
        return tensor
    kwargs: dict[str, Any] = {"dtype": dtype or tensor.dtype}
    if words.get("memory_format") is not None:
        kwargs["memory_format"] = words["memory_format"]
    if here != there:
        kwargs["device"] = torch.device("meta" if there else "cpu")
        kwargs["non_blocking"] = bool(words.get("non_blocking"))
    return torch.ops.aten._to_copy(tensor, **kwargs)


def _stand_ins(work: Work) -> list[tuple[Any, str, Any]]:
    """Returns what stands in for parts of torch that a build without CUDA has not."""
    tensor, cuda = torch.Tensor, torch.cuda
    guard = torch.autograd.grad_mode.inference_mode
    return [
        (tensor, "device", property(lambda t: CUDA if _here(t) else true_device(t))),
        (tensor, "is_cuda", property(_here)),
        (tensor, "is_cpu", property(lambda t: true_device(t).type == "cpu")),
        (tensor, "is_meta", property(lambda t: true_device(t).type == "meta" and not _here(t))),
        (torch, "Generator", _Generator),
        (cuda, "is_available", lambda: True),
        (cuda, "device_count", lambda: 1),
        (cuda, "current_device", lambda: 0),
        (cuda, "get_device_name", lambda *_: "pretend GPU"),
        (cuda, "get_device_capability", lambda *_: (9, 0)),
        (cuda, "get_rng_state", lambda *_: torch.default_generator.get_state()),
        (cuda, "set_rng_state", lambda state, *_: torch.default_generator.set_state(state)),
        (cuda, "CUDAGraph", PretendGraph),
        (cuda, "graph", capture),
        (cuda, "manual_seed", lambda *_: None),
        (cuda, "synchronize", lambda *_: work.wait("synchronize")),
        (cuda, "max_memory_allocated", lambda *_: 0),
        (cuda, "reset_peak_memory_stats", lambda *_: None),
        (cuda, "empty_cache", lambda: None),
        # wrapper tensors cannot be made in inference mode; without gradients the numbers are alike
        (guard, "__enter__", _no_grad),
        (guard, "__exit__", lambda self, *_: torch._C._set_grad_enabled(self.before)),
        (ThreadPoolExecutor, "submit", _submit),
        *attention_stand_ins(),
        *stream_stand_ins(),
    ]


_submitted = ThreadPoolExecutor.submit


def _submit(self: ThreadPoolExecutor, func: Callable, *args: Any, **kwargs: Any) -> Future:
    """Submits work that has the GPU, too: what PyTorch sends through Python is of one thread."""

    def work() -> Any:
        with _Functions(), _Operations():
            return func(*args, **kwargs)

    return _submitted(self, work)


def _no_grad(self: Any) -> None:
    self.before = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
