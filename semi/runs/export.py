"""`semi export`: a model that runs without this library, or the probabilities of a run.

One row of raw features of each modality in, one calibrated probability per class out, and valence
and arousal where the model knows them: scaling, mean over all chains and members, calibration and
vote are inside. Letters: B rows, T frames, D features, C classes, H heads.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.fusion import FusionOutput, build_fusion

from ..config.task import task_of
from ..errors import RunError, SemiError
from ..features.sequences import sequences
from ..features.tensors import Features, Frames
from ..files import replacing
from ..self_training.model_dir import Model, load_model
from ..self_training.teacher import FUSED, answer, can_speak
from .predictions import write_predictions
from .reopen import predictions_of

MODELS = {".pt2": "torch.export", ".onnx": "ONNX"}
TABLES = (".npz", ".csv", ".parquet")
ROWS = 16  # of the parity check
TOLERANCE = 1e-5


@dataclass
class Exported:
    """What was written, and how far it is from the library's own answer."""

    path: str
    kind: str
    inputs: list[str]  # in order; the last one is `present`
    classes: list[str]
    difference: float | None  # largest over ROWS random rows, with and without modalities
    note: str = ""
    outputs: list[str] = field(default_factory=list)  # in order

    def __str__(self) -> str:
        """Returns the inputs, the outputs and the parity."""
        lines = [f"{self.path}: {self.kind}"]
        if self.difference is not None:
            lines += [
                f"inputs: {'; '.join(self.inputs)}",
                f"output: {'; '.join(self.outputs)}",
                f"parity with semi on {ROWS} random rows with and without each modality: "
                f"largest difference {self.difference:.1e}",
            ]
        return "\n".join([*lines, *([self.note] if self.note else [])])


class Shipped(nn.Module):
    """A trained model as one plain module.

    (each modality (B, D), or (B, T, D) with NaN where a row has no frame any more; present (B, M))
    -> [probabilities (B, C)] and [valence and arousal (B, 2)], as the task has them.
    """

    weights: Tensor  # (H,) of the vote

    def __init__(self, model: Model) -> None:
        super().__init__()
        ensemble, task = model.ensemble, task_of(model.config)
        self.names = list(ensemble.dims)
        self.heads, self.calibrations = model.voter.heads, model.voter.calibrations
        self.multi, self.classify, self.affect = task.multi, task.kind != "affect", task.affect
        self.scales = model.standardizer.mode != "speaker"
        self.clamp = model.standardizer.clamp if model.standardizer.mode == "global" else 0.0
        self.frames = frames_of(model)
        self.register_buffer("weights", model.voter.weights.float())
        members = []
        for e in range(ensemble.count):
            one = build_fusion(ensemble.config, ensemble.dims, ensemble.classes)
            state = {k: v[e] for k, v in (ensemble.params | ensemble.buffers).items()}
            one.load_state_dict(state)
            members.append(one.eval().requires_grad_(False))
        self.members = nn.ModuleList(members)
        self.widths = {}
        for i, name in enumerate(self.names):
            profile = model.standardizer.profiles[name]
            self.register_buffer(f"mean_{i}", profile.mean)
            self.register_buffer(f"std_{i}", profile.std)
            axes = None if profile.components is None else profile.components * profile.scale
            self.register_buffer(f"axes_{i}", axes)
            self.widths[name] = len(profile.mean) if self.scales else ensemble.dims[name]

    def forward(self, inputs: list[Tensor], present: Tensor) -> list[Tensor]:
        """Returns calibrated probabilities (B, C), then valence and arousal (B, 2), if known."""
        values = {}
        for i, (name, x) in enumerate(zip(self.names, inputs, strict=True)):
            here = present[:, i].view(-1, *[1] * (x.dim() - 1))
            values[name] = torch.where(here, self.scaled(i, x) if self.scales else x, 0.0)
        said = [member(values, present) for member in self.members]
        found = [self.vote([self.by_head(out) for out in said], present)] if self.classify else []
        if self.affect:
            found.append(torch.stack([out.affect for out in said]).mean(0))
        return found

    def by_head(self, out: FusionOutput) -> Tensor:
        """Returns one member's probabilities (H, B, C)."""
        every = {FUSED: out.logits, **out.modality_logits}
        return torch.stack([
            every[h].sigmoid() if self.multi else every[h].softmax(-1) for h in self.heads
        ])  # fmt: skip

    def vote(self, said: list[Tensor], present: Tensor) -> Tensor:
        """Returns (B, C): the members' mean, calibrated, voted over the heads that are present."""
        mean = torch.stack(said).mean(0)  # (H, B, C)
        if self.multi:
            pairs = torch.stack([1 - mean, mean], -1).clamp(min=1e-30).log().flatten(1, 2)
            parts = [self.calibrations[h].apply(pairs[i])[:, 1] for i, h in enumerate(self.heads)]
            probs = torch.stack(parts).view_as(mean)
        else:
            log = mean.clamp(min=1e-30).log()
            parts = [self.calibrations[h].apply(log[i]) for i, h in enumerate(self.heads)]
            probs = torch.stack(parts)
        can = can_speak(self.heads, present)
        share = self.weights * can.to(probs.dtype)  # (B, H)
        mixed = torch.einsum("bh,hbc->bc", share, probs)
        total = share.sum(1, keepdim=True) if self.multi else mixed.sum(-1, keepdim=True)
        even = torch.full_like(mixed, 0.5 if self.multi else 1 / mixed.shape[-1])
        return torch.where(total > 0, mixed / total.clamp(min=1e-30), even)

    def scaled(self, i: int, x: Tensor) -> Tensor:
        """Returns the standardised features of modality i; a frame of NaN stays one."""
        out = (x - getattr(self, f"mean_{i}")) / getattr(self, f"std_{i}")
        out = out.clamp(-self.clamp, self.clamp) if self.clamp else out
        axes = getattr(self, f"axes_{i}")
        return out if axes is None else out @ axes


def frames_of(model: Model) -> dict[str, int]:
    """Returns {modality: most frames T} of those that the model reads as sequences."""
    sections = model.config.encoders
    limit = model.config.features.max_frames
    found = {}
    for name in model.ensemble.dims:
        whole = name.split(".")[0]  # speech.3 is a layer of speech
        section = sections.extra.get(whole) or getattr(sections, whole, None)
        if limit > 1 and section is not None and section.pooling == "frames":
            found[name] = limit
    return found


def export(run: str | Path, output: str | Path) -> Exported:
    """Writes a run's model (.pt2, .onnx) or the probabilities of all its rows (.npz, .csv).

    A model is checked against the library's own answer before it is left behind.
    """
    suffix = Path(output).suffix
    if suffix in TABLES:
        answers = predictions_of(run)
        write_predictions(output, answers)
        told = f"probabilities of {len(answers.ids)} utterances, out-of-fold on gold training rows"
        return Exported(str(output), told, [], answers.classes, None)
    if suffix not in MODELS:
        raise RunError(
            f"the ending of {output} must be one of {', '.join((*MODELS, *TABLES))}: it says what "
            "is exported"
        )
    model = load_model(run)
    module = Shipped(model).eval()
    inputs, present = _examples(module)
    with replacing(output) as temporary:
        write = _write_program if suffix == ".pt2" else _write_onnx
        again = write(module, inputs, present, temporary)
        own = _own(model, inputs, present)
        gap = max(float((a - b).abs().max()) for a, b in zip(again, own, strict=True))
        if not gap <= TOLERANCE:
            raise RunError(
                f"the exported model differs from the run's own by {gap:.1e}, more than "
                f"{TOLERANCE:.0e}; it is not written"
            )
    note = "features are raw, as in the feature store" if module.scales else (
        "features must be standardised per speaker already: features.standardize is speaker"
    )  # fmt: skip
    middle = {n: f"{t}, " for n, t in module.frames.items()}
    shapes = [f"{n} (rows, {middle.get(n, '')}{module.widths[n]})" for n in module.names]
    shapes.append(f"present (rows, {len(module.names)}) bool")
    if middle:
        most = max(module.frames.values())
        note += f"; frames after a row's last are NaN, rows of more than {most} are averaged down"
    outputs = []
    if module.classify:
        each = " each by itself" if module.multi else ""
        outputs.append(
            f"probabilities (rows, {len(model.classes)}) of {', '.join(model.classes)}{each}"
        )
    if module.affect:
        outputs.append("values (rows, 2) of valence, arousal")
    return Exported(str(output), MODELS[suffix], shapes, model.classes, gap, note, outputs)


def _examples(module: Shipped) -> tuple[list[Tensor], Tensor]:
    """Returns random rows near the training data, every modality missing in some of them."""
    draw = torch.Generator().manual_seed(0)
    inputs = []
    for i, name in enumerate(module.names):
        frames = module.frames.get(name)
        x = torch.randn(*([ROWS, frames] if frames else [ROWS]), module.widths[name],
                        generator=draw)  # fmt: skip
        if module.scales:
            x = x * getattr(module, f"std_{i}") + getattr(module, f"mean_{i}")
        if frames:  # rows of any length
            length = torch.arange(ROWS)[:, None, None] % frames + 1
            x = torch.where(torch.arange(frames)[None, :, None] < length, x, torch.nan)
        inputs.append(x)
    present = torch.ones(ROWS, len(module.names), dtype=torch.bool)
    for i in range(len(module.names) if len(module.names) > 1 else 0):
        present[i, i] = False
    present[-1] = False  # nothing to go by: every class alike
    return inputs, present


def _own(model: Model, inputs: list[Tensor], present: Tensor) -> list[Tensor]:
    """Returns the library's own answer to the same rows."""
    values = dict(zip(model.ensemble.dims, inputs, strict=True))
    if frames := frames_of(model):
        packed = {n: _packed(x, present[:, i]) for i, (n, x) in enumerate(values.items())}
        if model.standardizer.mode != "speaker":
            packed = model.standardizer.apply_frames(packed)
        ready = sequences(packed, max(frames.values()))
    else:
        ready = Features(values, present)
        if model.standardizer.mode != "speaker":
            ready = model.standardizer.apply(ready)
    said = answer(model.ensemble, model.voter, ready.values, present, model.chains)
    task = task_of(model.config)
    every = [said.probs if task.kind != "affect" else None, said.affect if task.affect else None]
    return [x for x in every if x is not None]


def _packed(x: Tensor, here: Tensor) -> Frames:
    """Returns (B, D) or (B, T, D) with NaN after the last frame as packed frames."""
    x = x[:, None] if x.dim() == 2 else x
    real = ~x[..., 0].isnan() & here[:, None]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), real.sum(1).cumsum(0)])
    return Frames(x[real], offsets, here)


def _write_program(module: Shipped, inputs: list[Tensor], present: Tensor, path: Path
) -> list[Tensor]:  # fmt: skip
    """Writes a torch.export program and returns what it says when it is read back."""
    rows = torch.export.Dim("rows", min=1, max=1 << 20)
    shapes = {"inputs": [{0: rows} for _ in inputs], "present": {0: rows}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module, (inputs, present), dynamic_shapes=shapes, strict=False
        )
        with open(path, "wb") as target:
            torch.export.save(program, target)  # type: ignore[arg-type]
        with open(path, "rb") as source:
            again = torch.export.load(source).module()  # type: ignore[arg-type]
    parts = [again([x[rows] for x in inputs], present[rows]) for rows in _parts()]
    return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]


def _write_onnx(module: Shipped, inputs: list[Tensor], present: Tensor, path: Path
) -> list[Tensor]:  # fmt: skip
    """Writes an ONNX file and returns what ONNX Runtime says with it."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SemiError(
            f"ONNX needs the extra packages ({error.name} is missing): pip install "
            "'semi-emotion[onnx]'; a .pt2 file needs none"
        ) from error
    rows = torch.export.Dim("rows", min=1, max=1 << 20)
    names = [*(f"{n}".replace(".", "_") for n in module.names), "present"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (inputs, present), dynamo=True, input_names=names,
            output_names=["probs"] * module.classify + ["affect"] * module.affect,
            dynamic_shapes={"inputs": [{0: rows} for _ in inputs], "present": {0: rows}},
            verbose=False, external_data=False,
        )  # fmt: skip
        program.save(str(path), external_data=False)  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    said: list[Any] = []
    for part in _parts():
        given = [*(x[part].numpy() for x in inputs), present[part].numpy()]
        said.append(session.run(None, dict(zip(names, given, strict=True))))
    return [torch.cat([torch.from_numpy(x) for x in parts]) for parts in zip(*said, strict=True)]


def _parts() -> list[slice]:
    """Returns batches of different sizes, so that a size frozen into the file is found out."""
    return [slice(0, 1), slice(1, 6), slice(6, ROWS)]
