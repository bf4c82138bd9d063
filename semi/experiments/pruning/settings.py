"""The settings that a pruning report compares: keep rates, layers, methods, and stopping early."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.encoders import SpeechConfig
from models.encoders.config import resolve_layers
from models.encoders.pruning import PruningConfig


@dataclass
class Setting:
    """One way to run the speech encoder."""

    kind: str  # full | prune | stop
    config: SpeechConfig
    last: int  # layers that run

    @property
    def name(self) -> str:
        """Short name for tables and plots."""
        pruning = self.config.pruning
        if self.kind == "full":
            return "un-pruned"
        if self.kind == "stop":
            return f"stop after layer {self.last}"
        return f"{pruning.method}, keep {pruning.keep_rate:g}, layer {pruning.layer}"

    @property
    def override(self) -> str:
        """The `key=value` that sets it."""
        pruning = self.config.pruning
        if self.kind == "stop":
            return f"encoders.speech.layers={self.config.layers}"
        if self.kind == "full":
            return "encoders.speech.pruning.method=none"
        return (
            f"encoders.speech.pruning={{method: {pruning.method}, "
            f"keep_rate: {pruning.keep_rate:g}, layer: {pruning.layer}}}"
        )


def settings(
    base: SpeechConfig, depth: int, methods: list[str], keep_rates: list[float], layers: list[int]
) -> list[Setting]:
    """Returns un-pruned, every method x layer x keep rate, and every earlier place to stop.

    The user's own pruning is one of them. Pruning where only the last used layers would gain
    nothing is left out; layers none given are a quarter and half of those that run.
    """
    base = replace(base, pooling="mean" if base.pooling == "frames" else base.pooling)
    plain = replace(base, pruning=PruningConfig())
    last = max(resolve_layers(base.layers, depth))
    layers = layers or sorted({max(last // 4, 1), max(last // 2, 1)})
    settings = [Setting("full", plain, last)]
    for method in methods:
        for layer in layers:
            for rate in sorted(keep_rates, reverse=True):
                pruning = replace(
                    base.pruning, method=method, keep_rate=rate, layer=layer, schedule="one_shot",
                    min_keep_rate=None, last_layer=None,
                )  # fmt: skip
                settings.append(Setting("prune", replace(base, pruning=pruning), last))
    if base.pruning.active and base.pruning.schedule == "one_shot":
        pruning = replace(base.pruning, layer=last // 2 if base.pruning.layer is None
                      else base.pruning.layer)  # fmt: skip
        settings.append(Setting("prune", replace(base, pruning=pruning), last))
    used = resolve_layers(base.layers, depth)
    for stop in range(max(last // 3, 1), last):
        shifted = sorted({min(layer, stop) for layer in used})
        settings.append(Setting("stop", replace(plain, layers=shifted), stop))
    unique: dict[str, Setting] = {}
    for setting in settings:
        layer = setting.config.pruning.layer
        if setting.kind != "prune" or (layer is not None and layer < last):
            unique.setdefault(setting.name, setting)
    return list(unique.values())
