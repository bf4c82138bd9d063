"""`finetune`: encoders adapted to the gold training rows, written as Hugging Face folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.encoders.pruning_auto import auto_note
from models.encoders.to_device import sent

from ...config import schema as settings
from ...config.schema import Config
from ...data.kept_reviews import own_reviews
from ...data.wording import counted
from ...devices import need_device
from ...errors import ConfigError, RunError
from ...evaluation.metrics import score
from ...features.extract import explained
from ...features.progress import Progress
from ...threads import limited_threads
from . import checkpoint as checkpoints
from .data import FinetuneBatch, GoldRows, RowReader, batches, gold_rows
from .folder import keep_own_reviews, refuse_other_work, write_adapted
from .learner import (
    Learner,
    class_shares,
    make_optimizer,
    objective,
    processes,
    pruner_at,
    rate_at,
    shared,
)

NOT_PRETRAINED = ("acoustic", "egemaps", "char-ngram", "precomputed", "none")


@dataclass
class Finetuned:
    """What an adaptation came to."""

    folders: dict[str, str]  # modality -> Hugging Face folder
    history: list[dict[str, Any]] = field(default_factory=list)  # step, loss, watch macro-F1
    rows: int = 0  # utterances learned from
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns what happened and how to use it, in a few lines."""
        lines = []
        for now in self.history:
            watch = now.get("watch_macro_f1")
            watched = f", macro-F1 of the rows kept out {100 * watch:.1f} %" if watch else ""
            lines.append(f"step {now['step']}: loss {now['loss']:.3f}{watched}")
        lines += [f"{f}: use it with encoders.{m}.model={f}" for m, f in self.folders.items()]
        return "\n".join([*lines, *self.notes])


def finetune(config: Config, *, resume: bool = False, progress: bool = True) -> Finetuned:
    """Adapts the encoders that `config.finetune` names; writes <runs_dir>/<name>-finetune/.

    Learns from gold training rows only, never from dev, test or hidden labels. Under torchrun the
    processes share every batch and come to what one process comes to. Interrupted, it goes on from
    the last checkpoint with `resume`.
    """
    settings.check(config)
    about = config.finetune
    parts = {m: p for m, p in (("speech", about.speech), ("text", about.text)) if p != "none"}
    _check(config, parts)
    target = Path(config.runs_dir, f"{config.name}-finetune")
    checkpoint = target / checkpoints.CHECKPOINT
    refuse_other_work(target, list(parts), resume)
    if resume:
        reviews = own_reviews(target, config.data.reviews)
        config = replace(config, data=replace(config.data, reviews=reviews))
    rows = gold_rows(config, list(parts))
    rows.notes += auto_note(config.encoders.speech.pruning) if "speech" in parts else []
    device = _device(config)
    limited, fork = limited_threads(config.threads), torch.random.fork_rng(enabled=True)
    with limited, processes(device) as (rank, world), fork:
        if about.batch % world:
            raise ConfigError(
                f"finetune.batch={about.batch} cannot be shared by {world} processes; set a "
                f"multiple of {world}"
            )
        torch.manual_seed(config.seed)  # the heads' start is the same everywhere
        learner = Learner(_encoders(config, parts), len(rows.classes), contrast=about.contrast > 0)
        learner.to(device)
        show = progress and rank == 0
        if rank == 0:
            keep_own_reviews(target, rows.reviewed, resume)
        history = _train(learner, rows, config, checkpoint, _Share(rank, world), show=show)
        if rank == 0:
            write_adapted(learner, target, rows, history)
        if world > 1:
            torch.distributed.barrier()
    checkpoint.unlink(missing_ok=True)
    folders = {m: str(target / m) for m in parts}
    return Finetuned(folders, history, len(rows.train), _words(rows))


def _train(
    learner: Learner, rows: GoldRows, config: Config, checkpoint: Path, share: _Share, *, show: bool
) -> list[dict[str, Any]]:
    """Runs the steps, from the checkpoint on where there is one; returns how it went."""
    about, device = config.finetune, next(learner.parameters()).device
    optimizer = make_optimizer(learner, about)
    signature = checkpoints.signature(config, rows)
    begin, history = checkpoints.load(checkpoint, learner, optimizer, signature)
    model: Any = shared(learner, share.world, device)
    open_ = [p for p in learner.parameters() if p.requires_grad]
    reader = RowReader(rows, config)
    feed = batches(reader, config, begin * about.accumulate, rank=share.rank, world=share.world)
    gradient_step = _GradientStep(model, learner, rows, config, share.world)
    with Progress("finetune", about.steps, "steps", show=show) as bar:
        bar.at(begin)
        for step in range(begin, about.steps):
            learner.train()
            # seeded by step, so that a resumed run draws the dropout of an uninterrupted one
            torch.manual_seed((config.seed * 1_000_003 + step * 1_009 + share.rank) % 2**63)
            factor = rate_at(step, about)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            total = gradient_step.gradient(feed, step)
            if about.clip:
                torch.nn.utils.clip_grad_norm_(open_, about.clip)
            optimizer.step()
            optimizer.zero_grad()
            bar.at(step + 1)
            done = step + 1
            if done % about.save_every == 0 or done == about.steps:
                history.append(_now(done, _mean(total, share.world), learner, reader, config))
                if share.rank == 0 and done < about.steps:
                    checkpoints.save(checkpoint, learner, optimizer, signature, done, history)
    if reader.unreadable:
        rows.notes.append(
            f"{counted(len(reader.unreadable), 'sound', 'was', 'were')} left out, as not readable"
        )
    return history


@dataclass
class _Share:
    """Which part of the work this process does."""

    rank: int
    world: int


class _GradientStep:
    """The gradient of one step, from several small batches where memory asks for it."""

    def __init__(
        self, model: Any, learner: Learner, rows: GoldRows, config: Config, world: int
    ) -> None:
        self.model, self.learner, self.config, self.world = model, learner, config, world
        self.device = next(learner.parameters()).device
        self.target = torch.from_numpy(rows.target).to(self.device)
        self.label = torch.from_numpy(rows.label.astype(np.int64)).to(self.device)

    def gradient(self, feed: Iterator[FinetuneBatch], step: int) -> torch.Tensor:
        """Adds the gradient of the step's rows; returns the mean loss of this process's rows."""
        about, device = self.config.finetune, self.device
        pruner, total = _pruner(step, self.learner, self.config), torch.zeros((), device=device)
        for micro in range(about.accumulate):
            batch = next(feed)
            last = micro + 1 == about.accumulate
            alone = last or self.world == 1
            with contextlib.nullcontext() if alone else self.model.no_sync():
                with _arithmetic(self.config, device):
                    out = self.model(batch.inputs, pruner)
                present = {
                    m: sent(torch.tensor([float(x is not None) for x in items]), device)
                    for m, items in batch.inputs.items()
                }
                chosen = sent(torch.from_numpy(batch.rows), device)
                loss = objective(out, present, self.target[chosen], self.label[chosen], about)
                (loss / about.accumulate).backward()
            total += loss.detach() / about.accumulate
        return total


def _now(
    step: int, loss: float, learner: Learner, reader: RowReader, config: Config
) -> dict[str, Any]:
    """Returns where the adaptation stands; RunError where the loss is no number any more."""
    if not np.isfinite(loss):
        raise RunError(
            f"finetune: the loss is {loss} at step {step}; lower finetune.lr "
            f"(it is {config.finetune.lr:g})"
        )
    now: dict[str, Any] = {"step": step, "loss": loss}
    if len(reader.rows.watch):
        now["watch_macro_f1"] = _watch(learner, reader, config, step)
    return now


def _mean(loss: torch.Tensor, world: int) -> float:
    """Returns the loss of the whole batch; each process has its share."""
    if world > 1:
        torch.distributed.all_reduce(loss)
    return float(loss) / world


def _watch(learner: Learner, reader: RowReader, config: Config, step: int) -> float:
    """Returns macro-F1 on the rows kept out, as the encoders would be used now."""
    rows, shares = reader.rows, []
    pruner = _pruner(step, learner, config)
    for row in rows.watch:
        inputs = reader.inputs(np.array([row]), [config.seed, 9])
        with _arithmetic(config, next(learner.parameters()).device):
            shares.append(class_shares(learner, inputs, pruner))
    return score(np.concatenate(shares), rows.label[rows.watch], rows.classes).macro_f1


def _pruner(step: int, learner: Learner, config: Config):
    if "speech" not in learner.encoders:
        return None
    speech: Any = learner.encoders["speech"]
    return pruner_at(step, config.encoders.speech.pruning, max(speech.used), config.finetune)


def _arithmetic(config: Config, device: torch.device):
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


def _device(config: Config) -> torch.device:
    import os

    name = config.device
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    need_device(name)
    return torch.device(name)


def _encoders(config: Config, parts: dict[str, str]) -> dict[str, Any]:
    """Returns the encoders, each with its part that learns."""
    from models.encoders.trainable import TrainableSpeech, TrainableText

    about, made = config.finetune, {}
    kinds = {"speech": TrainableSpeech, "text": TrainableText}
    for name, part in parts.items():
        with explained(name):
            section = getattr(config.encoders, name)
            encoder = kinds[name](section, checkpointing=about.checkpointing)
            encoder.choose(part, top=about.top_layers, rank=about.lora_rank, alpha=about.lora_alpha)
        made[name] = encoder
    return made


def _check(config: Config, parts: dict[str, str]) -> None:
    if not parts:
        raise ConfigError(
            "finetune has nothing to do: finetune.speech and finetune.text are both none; set one "
            "to top, whole or lora"
        )
    for name in parts:
        model = getattr(config.encoders, name).model
        if model in NOT_PRETRAINED:
            raise ConfigError(
                f"finetune.{name}={parts[name]}, but encoders.{name}.model={model} has no weights "
                f"to adapt; name a pretrained model or folder, or set finetune.{name}=none"
            )


def _words(rows: GoldRows) -> list[str]:
    watched = f", {len(rows.watch)} kept out to watch" if len(rows.watch) else ""
    return [
        f"learned from {counted(len(rows.train), 'gold training row')}{watched}",
        "a run on the adapted encoder needs the same data and seed settings, or its test rows may "
        "be among these; its out-of-fold scores flatter it, its test scores do not",
        *rows.notes,
    ]
