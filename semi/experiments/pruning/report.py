"""`prune_report`: what token pruning would cost and bring on the user's own sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.encoders.merging import METHODS
from models.encoders.pruning import supports_pruning
from models.encoders.speech import SpeechEncoder

from ...config import schema as configuration
from ...config.schema import Config
from ...data.manifest import load_manifest
from ...data.splits import make_splits
from ...data.wording import counted, nearest
from ...devices import need_device
from ...errors import ConfigError
from ...features.extract import open_encoders
from ...threads import limited_threads
from .advice import Advice, GoldLabels, Row, advise, tabulate
from .measure import header_seconds, measure, sample
from .page import write_pages
from .settings import settings

if TYPE_CHECKING:
    from ...data.manifest import Manifest


@dataclass
class PruneReport:
    """What was found and where it is written."""

    path: Path
    rows: list[Row]
    advice: Advice

    def __str__(self) -> str:
        """Returns the advice and the folder."""
        return f"{self.advice}\n{self.path / 'report.html'}"


def prune_report(
    config: Config,
    *,
    utterances: int = 500,
    methods: Sequence[str] = ("merge", "topk_merge", "stride"),
    keep_rates: Sequence[float] = (0.7, 0.5),
    layers: Sequence[int] = (),
    progress: bool = True,
) -> PruneReport:
    """Runs a sample through the speech encoder in many settings; writes <runs_dir>/<name>-prune/.

    Only training and pool rows are heard; labels are those of gold training rows. Each batch goes
    through all settings in turn, so the speeds stand beside each other.

    Args:
        config: see semi.load_config; encoders.speech is what is examined.
        utterances: sounds in the sample, spread evenly over their lengths, labelled ones first.
        methods: of token pruning.
        keep_rates: shares of tokens kept, in (0, 1).
        layers: pruning layers (0-based); none: a quarter and half of those that run.
        progress: show it on stderr.
    """
    configuration.check(config)
    _check(utterances, methods, keep_rates)
    with limited_threads(config.threads):
        return _examined(config, utterances, methods, keep_rates, layers, progress)


def _examined(
    config: Config, utterances: int, methods: Sequence[str], keep_rates: Sequence[float],
    layers: Sequence[int], progress: bool,
) -> PruneReport:  # fmt: skip
    encoder = _speech_encoder(config, layers)
    depth = encoder.model.depth
    possible, reason = supports_pruning(encoder.model.model_type)
    table = settings(
        config.encoders.speech, depth, list(methods) if possible else [], list(keep_rates),
        list(layers),
    )  # fmt: skip
    manifest = load_manifest(config.data.manifest, config.data)
    usable, gold = _rows(manifest, config)
    seconds = header_seconds(manifest.table, usable, config.data.workers)
    usable = usable & np.isfinite(seconds)
    first = usable & (gold.fold >= 0) if gold is not None else usable
    candidates = np.flatnonzero(usable)
    chosen = candidates[sample(seconds[usable], first[usable], utterances, config.seed)]
    measured = measure(
        encoder, table, manifest.table, chosen, seconds[chosen],
        workers=config.data.workers, progress=progress,
        limits={"min_seconds": config.data.min_seconds, "max_seconds": config.data.max_seconds},
    )  # fmt: skip
    part = None
    if gold is not None:
        kept = measured.rows
        part = _enough(GoldLabels(gold.label[kept], gold.fold[kept], gold.group[kept]))
    rows = tabulate(table, measured, part)
    advice = advise(table, rows, measured)
    if not possible:
        advice.sentences.insert(0, f"This encoder is not pruned: {reason}.")
    path = Path(config.runs_dir, f"{config.name}-prune")
    about = (
        f"{counted(len(measured.rows), 'utterance')}, {measured.seconds.sum() / 60:.1f} minutes, "
        f"{measured.seconds.min():.1f} to {measured.seconds.max():.1f} s; {config.precision} on "
        f"{config.device}, {counted(torch.get_num_threads(), 'thread')}; "
        f"{counted(depth, 'layer')}, {max(encoder.layers)} of them run"
    )
    title = f"Token pruning in {Path(config.encoders.speech.model).name}"
    write_pages(path, title, about, advice, rows)
    return PruneReport(path, rows, advice)


def _speech_encoder(config: Config, layers: Sequence[int]) -> SpeechEncoder:
    """Returns the encoder; ConfigError where it is none that is pretrained or lacks a layer."""
    need_device(config.device)
    encoder = open_encoders(config).get("speech")
    if not isinstance(encoder, SpeechEncoder):
        raise ConfigError(
            f"prune-report needs a pretrained speech encoder, but encoders.speech.model is "
            f"{config.encoders.speech.model}; name a HuBERT, wav2vec2, data2vec-audio or Whisper "
            "model or folder"
        )
    for layer in layers:
        if not 0 <= layer < max(encoder.layers):
            raise ConfigError(
                f"layers must be in 0 ... {max(encoder.layers) - 1} (layers that run before the "
                f"last one used), got {layer}"
            )
    return encoder


def _check(utterances: int, methods: Sequence[str], keep_rates: Sequence[float]) -> None:
    if utterances < 2:
        raise ConfigError(f"utterances must be at least 2, got {utterances}")
    for method in methods:
        if method not in METHODS:
            raise ConfigError(
                f"methods may be {', '.join(METHODS)}, got '{method}'{nearest(method, METHODS)}"
            )
    for rate in keep_rates:
        if not 0 < rate < 1:
            raise ConfigError(f"keep rates must be in (0, 1), got {rate:g}")


def _rows(manifest: Manifest, config: Config) -> tuple[np.ndarray, GoldLabels | None]:
    """Returns which rows (N,) may be heard, and the gold of those whose labels may be read."""
    usable = manifest.table["audio"].notna().to_numpy()
    if len(manifest.classes) < 2:
        split = manifest.table["split"]
        return usable & ~split.isin(["dev", "test"]).to_numpy(), None
    splits = make_splits(manifest, config.data, folds=config.train.folds, seed=config.seed)
    usable = usable & np.isin(splits.role, ["labeled", "pool"])
    return usable, GoldLabels(splits.label, splits.fold, splits.group)


def _enough(gold: GoldLabels) -> GoldLabels | None:
    """Returns the gold, or None where no model could be trained without some part."""
    parts = np.unique(gold.fold[gold.fold >= 0])
    fine = len(parts) >= 2 and all(
        len(np.unique(gold.label[(gold.fold >= 0) & (gold.fold != k)])) >= 2 for k in parts
    )
    return gold if fine else None
