"""How many CPU threads a piece of work may take, without changing the process for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from threadpoolctl import ThreadpoolController


@contextlib.contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Runs the block on at most `count` threads of PyTorch and of NumPy's BLAS; 0 = no limit.

    Not torch.set_num_threads: it also tells MKL never to adapt its own threads again, for the whole
    process, and batched LU factors are wrong from then on (torch 2.13 on x86, two threads:
    "Parameter 6 was incorrect on entry to SLASWP").
    """
    if not count:
        yield
        return
    import torch  # noqa: F401  its OpenMP must be loaded to be limited

    with ThreadpoolController().limit(limits=count):
        yield
