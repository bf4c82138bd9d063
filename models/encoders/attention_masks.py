"""Attention masks on a GPU without asking it whether there is anything to mask.

Given a mask (B, T) of tokens, transformers first looks whether all of it is True, to leave it out;
that look is a wait of the host for all that the GPU has still to do. The mask is made unasked here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

SKIPS = ("allow_is_bidirectional_skip", "allow_is_causal_skip")


class _Unasked:
    """One of transformers' makers of masks, told to make a mask wherever one is given."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *args: Any, **words: Any) -> Any:
        if words.get("attention_mask") is not None:
            words.update({word: False for word in SKIPS if word in words})
        return self.make(*args, **words)


@contextlib.contextmanager
def masks_unasked(device: torch.device) -> Iterator[None]:
    """Lets transformers' text models mask without a look; a CPU looks, which costs nothing there.

    The makers are exchanged in transformers' own table, for this while; where another thread has
    done so already, they are left to it: the look is slower, and changes no number.
    """
    if device.type == "cpu":
        yield
        return
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MAKERS

    before = {name: MAKERS[name] for name in ("sdpa", "eager")}
    ours = {n: _Unasked(make) for n, make in before.items() if not isinstance(make, _Unasked)}
    MAKERS.update(ours)
    try:
        yield
    finally:
        MAKERS.update({name: before[name] for name in ours})
