"""`pruning.method: auto`: the measured best, which is to keep every token; and how that is told."""

from __future__ import annotations

from .pruning import PruningConfig

SENTENCE = (
    "encoders.speech.pruning.method=auto: off, every token is kept, as no pruning was ahead of "
    "stopping at an earlier layer by more than chance; semi prune-report measures both on your own "
    "sound"
)


def auto_note(config: PruningConfig) -> list[str]:
    """Returns the sentence on what `auto` came to, as a list; nothing where another word is given.

    `auto` drops nothing in any encoder at any length, so it shares its vectors and its place in the
    store with `none`. To be on it would have had to be ahead of the best un-pruned layer of no more
    CPU-seconds, by more than the interval and in more than one corpus. Whisper-base on joined
    utterances of 3, 10 and 30 s in two languages (benchmarks/results/prune_long_whisper_base.md):
    of 336 comparisons 11 intervals lie above 0, about what chance gives, and 88 below. What came
    near, merging before layer 3, was level with layer 2 on natural utterances. In encoders of 12
    and 24 layers pruning costs what some stop costs, at 60 s as at 10 s (prune_speed-cpu.md there).
    """
    return [SENTENCE] if config.method == "auto" else []
