"""`semi export`: a model that runs without this library, or the probabilities of a run.

One row of raw features of each modality in, one calibrated probability per class out: scaling,
mean over all chains and members, calibration and vote are inside. Letters: B rows, C classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.fusion import build_fusion

from .answers import write_answers
from .errors import RunError, SemiError
from .features.tensors import Features
from .files import replacing
from .finished import answers_of, refuse_other_tasks
from .model_dir import Model, load_model
from .teaching import answer

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

    def __str__(self) -> str:
        """Returns the inputs, the outputs and the parity."""
        lines = [f"{self.path}: {self.kind}"]
        if self.difference is not None:
            lines += [
                f"inputs: {'; '.join(self.inputs)}",
                f"output: probabilities (rows, {len(self.classes)}) of {', '.join(self.classes)}",
                f"parity with semi on {ROWS} random rows with and without each modality: "
                f"largest difference {self.difference:.1e}",
            ]
        return "\n".join([*lines, *([self.note] if self.note else [])])


class Shipped(nn.Module):
    """A trained model as one plain module: (each modality (B, D), present (B, M)) -> (B, C)."""

    weights: Tensor  # (H,) of the vote

    def __init__(self, model: Model) -> None:
        super().__init__()
        ensemble = model.ensemble
        self.names = list(ensemble.dims)
        self.heads, self.calibrations = model.voter.heads, model.voter.calibrations
        self.scales = model.standardizer.mode != "speaker"
        self.clamp = model.standardizer.clamp if model.standardizer.mode == "global" else 0.0
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

    def forward(self, inputs: list[Tensor], present: Tensor) -> Tensor:
        """Returns calibrated probabilities (B, C)."""
        here = {n: present[:, i, None] for i, n in enumerate(self.names)}
        values = {
            n: torch.where(here[n], self.scaled(i, x) if self.scales else x, 0.0)
            for i, (n, x) in enumerate(zip(self.names, inputs, strict=True))
        }
        said = []
        for member in self.members:
            out = member(values, present)
            every = {"fused": out.logits, **out.modality_logits}
            said.append(torch.stack([every[h].softmax(-1) for h in self.heads]))
        mean = torch.stack(said).mean(0).clamp(min=1e-30).log()  # (H, B, C)
        probs = torch.stack([self.calibrations[h].apply(mean[i]) for i, h in enumerate(self.heads)])
        can = torch.cat([present.any(1, keepdim=True), present], 1)[:, : len(self.heads)]
        share = self.weights * can.to(probs.dtype)  # (B, H)
        mixed = torch.einsum("bh,hbc->bc", share, probs)
        total = mixed.sum(-1, keepdim=True)
        even = torch.full_like(mixed, 1 / mixed.shape[-1])
        return torch.where(total > 0, mixed / total.clamp(min=1e-30), even)

    def scaled(self, i: int, x: Tensor) -> Tensor:
        """Returns the standardised features of modality i."""
        out = (x - getattr(self, f"mean_{i}")) / getattr(self, f"std_{i}")
        out = out.clamp(-self.clamp, self.clamp) if self.clamp else out
        axes = getattr(self, f"axes_{i}")
        return out if axes is None else out @ axes


def export(run: str | Path, output: str | Path) -> Exported:
    """Writes a run's model (.pt2, .onnx) or the probabilities of all its rows (.npz, .csv).

    A model is checked against the library's own answer before it is left behind.
    """
    suffix = Path(output).suffix
    if suffix in TABLES:
        answers = answers_of(run)
        write_answers(output, answers)
        told = f"probabilities of {len(answers.ids)} utterances, out-of-fold on gold training rows"
        return Exported(str(output), told, [], answers.classes, None)
    if suffix not in MODELS:
        raise RunError(
            f"the ending of {output} must be one of {', '.join((*MODELS, *TABLES))}: it says what "
            "is exported"
        )
    model = load_model(run)
    refuse_other_tasks(model.config, run)
    module = Shipped(model).eval()
    inputs, present = _examples(module)
    with replacing(output) as temporary:
        write = _write_program if suffix == ".pt2" else _write_onnx
        again = write(module, inputs, present, temporary)
        gap = float((again - _own(model, inputs, present)).abs().max())
        if not gap <= TOLERANCE:
            raise RunError(
                f"the exported model differs from the run's own by {gap:.1e}, more than "
                f"{TOLERANCE:.0e}; it is not written"
            )
    note = "features are raw, as in the feature store" if module.scales else (
        "features must be standardised per speaker already: features.standardize is speaker"
    )  # fmt: skip
    shapes = [f"{n} (rows, {module.widths[n]})" for n in module.names]
    shapes.append(f"present (rows, {len(module.names)}) bool")
    return Exported(str(output), MODELS[suffix], shapes, model.classes, gap, note)


def _examples(module: Shipped) -> tuple[list[Tensor], Tensor]:
    """Returns random rows near the training data, every modality missing in some of them."""
    draw = torch.Generator().manual_seed(0)
    inputs = []
    for i, name in enumerate(module.names):
        x = torch.randn(ROWS, module.widths[name], generator=draw)
        if module.scales:
            x = x * getattr(module, f"std_{i}") + getattr(module, f"mean_{i}")
        inputs.append(x)
    present = torch.ones(ROWS, len(module.names), dtype=torch.bool)
    for i in range(len(module.names) if len(module.names) > 1 else 0):
        present[i, i] = False
    present[-1] = False  # nothing to go by: every class alike
    return inputs, present


def _own(model: Model, inputs: list[Tensor], present: Tensor) -> Tensor:
    """Returns the library's own answer to the same rows."""
    raw = Features(dict(zip(model.ensemble.dims, inputs, strict=True)), present)
    ready = raw if model.standardizer.mode == "speaker" else model.standardizer.apply(raw)
    return answer(model.ensemble, model.voter, ready.values, present, model.chains).probs


def _write_program(module: Shipped, inputs: list[Tensor], present: Tensor, path: Path) -> Tensor:
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
    halves = [again([x[rows] for x in inputs], present[rows]) for rows in _parts()]
    return torch.cat(halves)


def _write_onnx(module: Shipped, inputs: list[Tensor], present: Tensor, path: Path) -> Tensor:
    """Writes an ONNX file and returns what ONNX Runtime says with it."""
    try:
        import onnxruntime  # type: ignore[import-not-found]
        import onnxscript  # type: ignore[import-not-found]  # noqa: F401
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
            module, (inputs, present), dynamo=True, input_names=names, output_names=["probs"],
            dynamic_shapes={"inputs": [{0: rows} for _ in inputs], "present": {0: rows}},
            verbose=False, external_data=False,
        )  # fmt: skip
        program.save(str(path), external_data=False)  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    said: list[Any] = []
    for part in _parts():
        given = [*(x[part].numpy() for x in inputs), present[part].numpy()]
        said.append(session.run(None, dict(zip(names, given, strict=True)))[0])
    return torch.cat([torch.from_numpy(s) for s in said])


def _parts() -> list[slice]:
    """Returns batches of different sizes, so that a size frozen into the file is found out."""
    return [slice(0, 1), slice(1, 6), slice(6, ROWS)]
