"""`pruning.method: auto`: the measured best, which is to keep every token; and how that is told."""

from __future__ import annotations

from .pruning import PruningConfig

SENTENCE = (
    "encoders.speech.pruning.method=auto: off, every token is kept, as no pruning was measurably "
    "ahead of stopping at an earlier layer; semi prune-report measures both on your own sound"
)


def auto_note(config: PruningConfig) -> list[str]:
    """Returns the sentence on what `auto` came to, as a list; nothing where another word is given.

    `auto` drops nothing in any encoder at any length, so it shares its vectors and its place in the
    store with `none`. A rule would have had to put pruning ahead of the best un-pruned layer of no
    more CPU-seconds, in both corpora, by more than the interval. Whisper-base, joined utterances of
    3, 10 and 30 s in two languages (benchmarks/results/prune_long_whisper_base.md): of 336
    comparisons 11 intervals lay above 0, about what chance gives, and 88 below.
    """
    return [SENTENCE] if config.method == "auto" else []
