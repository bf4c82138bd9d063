"""`semi export`: a model that runs without this library, or the probabilities of a run.

One row of raw features of each modality in, one calibrated probability per class out, and valence
and arousal where the model knows them: scaling, mean over all chains and members, calibration and
vote are inside. Letters: B rows, T frames, D features, C classes, H heads.
"""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.wording import counted
from ..errors import RunError, SemiError, how_to_install
from ..features.sequences import sequences
from ..features.tensors import Features, Frames
from ..files import jsonable, replacing
from ..self_training.model_dir import Model, load_model
from ..training.teacher import answer
from .export_module import Shipped, frames_of
from .hub_download import model_folder
from .predictions import write_predictions
from .reopen import predictions_of

MODELS = {".pt2": "torch.export", ".onnx": "ONNX"}
TABLES = (".npz", ".csv", ".parquet")
PARITY_ROWS = 16  # of the parity check
TOLERANCE = 1e-5


@dataclass
class Exported:
    """What was written, and how far it is from the library's own answer."""

    path: str
    kind: str
    inputs: list[str]  # in order; the last one is `present`
    classes: list[str]
    difference: float | None  # largest over PARITY_ROWS random rows, with and without modalities
    note: str = ""
    outputs: list[str] = field(default_factory=list)  # in order

    def __str__(self) -> str:
        """Returns the inputs, the outputs and the parity."""
        lines = [f"{self.path}: {self.kind}"]
        if self.difference is not None:
            lines += [
                f"inputs: {'; '.join(self.inputs)}",
                f"output: {'; '.join(self.outputs)}",
                f"parity with semi on {PARITY_ROWS} random rows with and without each modality: "
                f"largest difference {self.difference:.1e}",
            ]
        return "\n".join([*lines, *([self.note] if self.note else [])])


def export(run: str | Path, output: str | Path) -> Exported:
    """Writes a run's model (.pt2, .onnx) or the probabilities of all its rows (.npz, .csv).

    A model is checked against the library's own answer before it is left behind.
    """
    suffix = Path(output).suffix
    if suffix in TABLES:
        answers = predictions_of(run)
        write_predictions(output, answers)
        kind = (
            f"probabilities of {counted(len(answers.ids), 'utterance')}, out-of-fold on gold "
            "training rows"
        )
        return Exported(str(output), kind, [], answers.classes, None)
    if suffix not in MODELS:
        raise RunError(
            f"the ending of {output} must be one of {', '.join((*MODELS, *TABLES))}: it says what "
            "is exported"
        )
    model = load_model(model_folder(run))
    module = Shipped(model).eval()
    inputs, present = _examples(module)
    with replacing(output) as temporary:
        if suffix == ".pt2":
            exported = _write_program(module, inputs, present, temporary)
        else:
            about = {"classes": model.classes, "encoders": model.identities}
            exported = _write_onnx(module, inputs, present, temporary, about)
        expected = _own(model, inputs, present)
        gap = max(float((a - b).abs().max()) for a, b in zip(exported, expected, strict=True))
        if not gap <= TOLERANCE:
            raise RunError(
                f"the exported model differs from the run's own by {gap:.1e}, more than "
                f"{TOLERANCE:.0e}; it is not written"
            )
    shapes, outputs, note = _described(module, model)
    return Exported(str(output), MODELS[suffix], shapes, model.classes, gap, note, outputs)


def _described(module: Shipped, model: Model) -> tuple[list[str], list[str], str]:
    """Returns the inputs, in order, the outputs, and how the inputs are prepared, for people."""
    note = "features are raw, as in the feature store"
    if model.standardizer.mode == "speaker":
        note += ", and scaled as of a speaker that was not heard in training"
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
    return shapes, outputs, note


def _examples(module: Shipped) -> tuple[list[Tensor], Tensor]:
    """Returns random rows near the training data, every modality missing in some of them."""
    draw = torch.Generator().manual_seed(0)
    inputs = []
    for i, name in enumerate(module.names):
        frames = module.frames.get(name)
        x = torch.randn(*([PARITY_ROWS, frames] if frames else [PARITY_ROWS]), module.widths[name],
                        generator=draw)  # fmt: skip
        x = x * getattr(module, f"std_{i}") + getattr(module, f"mean_{i}")
        if frames:  # rows of any length
            length = torch.arange(PARITY_ROWS)[:, None, None] % frames + 1
            x = torch.where(torch.arange(frames)[None, :, None] < length, x, torch.nan)
        inputs.append(x)
    present = torch.ones(PARITY_ROWS, len(module.names), dtype=torch.bool)
    for i in range(len(module.names) if len(module.names) > 1 else 0):
        present[i, i] = False
    present[-1] = False  # nothing to go by: every class alike
    return inputs, present


def _own(model: Model, inputs: list[Tensor], present: Tensor) -> list[Tensor]:
    """Returns the library's own answer to the same rows."""
    values = dict(zip(model.ensemble.dims, inputs, strict=True))
    if frames := frames_of(model):
        packed = {n: _packed(x, present[:, i]) for i, (n, x) in enumerate(values.items())}
        ready = sequences(model.standardizer.apply_frames(packed), max(frames.values()))
    else:
        ready = model.standardizer.apply(Features(values, present))
    answers = answer(model.ensemble, model.voter, ready.values, present, model.chains)
    task = model.config.task
    every = [
        answers.probs if task.kind != "affect" else None,
        answers.affect if task.affect else None,
    ]
    return [x for x in every if x is not None]


def _packed(x: Tensor, present: Tensor) -> Frames:
    """Returns (B, D) or (B, T, D) with NaN after the last frame as packed frames."""
    x = x[:, None] if x.dim() == 2 else x
    real = ~x[..., 0].isnan() & present[:, None]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), real.sum(1).cumsum(0)])
    return Frames(x[real], offsets, present)


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
        for node in program.graph.nodes:  # lines of our files, on this machine
            node.meta.pop("stack_trace", None)
        content = io.BytesIO()  # torch's own words on a full disk do not say so
        torch.export.save(program, content)
        path.write_bytes(content.getvalue())
        with open(path, "rb") as source:
            again = torch.export.load(source).module()
    parts = [again([x[rows] for x in inputs], present[rows]) for rows in _parts()]
    return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]


def _write_onnx(
    module: Shipped, inputs: list[Tensor], present: Tensor, path: Path, about: dict[str, Any]
) -> list[Tensor]:
    """Writes an ONNX file and returns what ONNX Runtime says with it.

    `about` becomes its metadata, JSON by name: what somebody without this library has to know.
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SemiError(
            f"ONNX needs the extra packages ({error.name} is missing): {how_to_install('onnx')}; "
            "a .pt2 file needs none"
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
        assert program is not None
        properties = {name: json.dumps(jsonable(value)) for name, value in about.items()}
        program.model.metadata_props.update(properties)
        for node in program.model.graph.all_nodes():  # lines of our files, on this machine
            node.metadata_props.clear()
        program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batches: list[Any] = []
    for part in _parts():
        given = [*(x[part].numpy() for x in inputs), present[part].numpy()]
        batches.append(session.run(None, dict(zip(names, given, strict=True))))
    return [torch.cat([torch.from_numpy(x) for x in parts]) for parts in zip(*batches, strict=True)]


def _parts() -> list[slice]:
    """Returns batches of different sizes, so that a size frozen into the file is found out."""
    return [slice(0, 1), slice(1, 6), slice(6, PARITY_ROWS)]
