"""Exported models answer as the library does, in batches of any size."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.fusion import FusionConfig
from models.fusion.config import CLOSED_FORM, KINDS
from pseudo_label.calibration import fit_calibration
from semi.cli import main
from semi.config.schema import load_config
from semi.errors import RunError, SemiError
from semi.features.config import FeaturesConfig
from semi.features.sequences import sequences
from semi.features.standardize import Standardizer
from semi.features.tensors import Features, Frames
from semi.runs.export import export
from semi.runs.export_module import Shipped
from semi.self_training.model_dir import Model, load_model, save_model
from semi.training.ensemble import Ensemble
from semi.training.teacher import answer
from semi.training.voter import Voter

EVERY = (*KINDS, *CLOSED_FORM)


def random_model(
    kind="contrastive", calibration="temperature", pca=None, mode="global", task="single", words=(),
    count=4,
):  # fmt: skip
    """Returns an untrained model of three modalities with fitted scaling and calibration."""
    draw = torch.Generator().manual_seed(0)
    widths = {"speech": 12, "text": 7, "video": 5}
    raw = Features(
        {n: 3 + 2 * torch.randn(40, d, generator=draw) for n, d in widths.items()},
        torch.ones(40, 3, dtype=torch.bool),
    )
    config = FeaturesConfig(standardize=mode, pca=pca)
    scale = Standardizer.fit(raw, torch.ones(40).bool(), config, ["a", "b"] * 20)
    dims = scale.apply(raw, ["a", "b"] * 20).dims
    heads = ["fused", *dims]
    logits, label = torch.randn(4, 60, 3, generator=draw), torch.arange(60) % 3
    multi, affect = "multi" in task, task in ("affect", "joint", "joint_multi_label")
    if multi:  # every class is a question with two answers
        logits, label = logits[..., :2].log_softmax(-1), label % 2
    fitted = {h: fit_calibration(logits[i], label, calibration) for i, h in enumerate(heads)}
    fusion = FusionConfig(kind=kind, hidden=8, projection=4, affect=affect)
    suited = ["train.batch=128", "train.imbalance=none", "rounds.max_rounds=0"]
    suited += ["data.ties=votes"] if multi else []
    suited += [f"task.kind={task}", f"rounds.metric={'ccc' if task == 'affect' else 'macro_f1'}"]
    loaded = load_config(None, ["data.manifest=m.csv", *suited, *words])
    return Model(
        config=loaded,
        classes=["x", "y", "z"],
        ensemble=Ensemble.create(fusion, dims, 3, count=count, seed=1),
        voter=Voter(heads, fitted, torch.tensor([0.4, 0.3, 0.2, 0.1]), multi),
        chains=min(2, count),
        standardizer=scale,
        identities={},
    )


def examples(model, rows=16):
    """Returns raw rows near the training data: values, and which modality is there."""
    module, draw = Shipped(model), torch.Generator().manual_seed(7)
    inputs = []
    for name, width in module.widths.items():
        frames = module.frames.get(name)
        x = torch.randn(*([rows, frames] if frames else [rows]), width, generator=draw)
        x = x * model.standardizer.profiles[name].std + model.standardizer.profiles[name].mean
        if frames:  # rows of any length
            length = torch.arange(rows)[:, None, None] % frames + 1
            x = torch.where(torch.arange(frames)[None, :, None] < length, x, torch.nan)
        inputs.append(x)
    present = torch.ones(rows, len(inputs), dtype=torch.bool)
    for i in range(len(inputs) if len(inputs) > 1 else 0):
        present[i, i] = False
    present[-1] = False  # nothing to go by
    return inputs, present


def library(model, inputs, present):
    """Returns the library's own answer: what is standardised, fused, calibrated and voted."""
    values, scale = dict(zip(model.ensemble.dims, inputs, strict=True)), model.standardizer
    if frames := Shipped(model).frames:
        packed = {n: packed_frames(x, present[:, i]) for i, (n, x) in enumerate(values.items())}
        values = sequences(scale.apply_frames(packed), max(frames.values())).values
    else:
        values = scale.apply(Features(values, present)).values
    said = answer(model.ensemble, model.voter, values, present, model.chains)
    task = model.config.task.kind
    return [said.probs] * (task != "affect") + [said.affect] * (said.affect is not None)


def packed_frames(x, here):
    """Returns (B, D), or (B, T, D) with NaN after the last frame, without what is missing."""
    x = x[:, None] if x.dim() == 2 else x
    real = ~x[..., 0].isnan() & here[:, None]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), real.sum(1).cumsum(0)])
    return Frames(x[real], offsets, here)


def gap(model, shipped=None):
    """Returns how far the plain module, or a file of it, is from the library's answer."""
    inputs, present = examples(model)
    shipped = shipped or Shipped(model).eval()
    parts = [shipped([x[r] for x in inputs], present[r]) for r in (slice(0, 1), slice(1, 6),
                                                                  slice(6, 16))]  # fmt: skip
    said = [torch.cat(part) for part in zip(*parts, strict=True)]
    both = zip(said, library(model, inputs, present), strict=True)
    return max(float((a - b).abs().max()) for a, b in both)


def onnx(path):
    """Returns what calls an ONNX file as the plain module is called."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]

    def call(inputs, present):
        given = zip(names, [x.numpy() for x in (*inputs, present)], strict=True)
        return [torch.from_numpy(x) for x in session.run(None, dict(given))]

    return call


TASKS = ("multi_label", "affect", "joint", "joint_multi_label")
SEQUENCES = ["encoders.speech.pooling=frames", "model.kind=cross_attention",
             "features.max_frames=5"]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_the_plain_module_answers_as_the_library_for_every_task(task):
    model = random_model(task=task)
    assert gap(model) < 1e-5
    said = Shipped(model).eval()(*examples(model))
    widths = {"multi_label": [3], "affect": [2]}.get(task, [3, 2])
    assert [x.shape[1] for x in said] == widths


@pytest.mark.parametrize("task", ["single", "joint_multi_label"])
def test_the_plain_module_answers_as_the_library_for_sequences(task):
    model = random_model("cross_attention", task=task, words=SEQUENCES)
    inputs, _ = examples(model)
    assert inputs[0].shape == (16, 5, 12) and inputs[1].shape == (16, 7)
    assert inputs[0][0, 1:].isnan().all() and not inputs[0][4].isnan().any()
    assert gap(model) < 1e-5


def with_values(kind, task):
    """Returns a model of one member that also says valence and arousal, or says these alone."""
    words = SEQUENCES if kind == "cross_attention" else ()
    model = random_model(kind, task="affect" if kind == "ridge" else task, words=words, count=1)
    draw, params = torch.Generator().manual_seed(2), model.ensemble.params
    for name in [name for name in params if kind in CLOSED_FORM and "range" not in name]:
        params[name] = torch.randn(params[name].shape, generator=draw)  # these begin at 0
    return model


@pytest.mark.parametrize("kind", EVERY)
def test_the_plain_module_answers_as_the_library_for_every_fusion(kind):
    assert gap(with_values(kind, "joint")) < 1e-5


@pytest.mark.parametrize("kind", ["contrastive", "cross_attention", "discriminant"])
def test_a_torch_program_answers_as_the_library_for_vectors_frames_and_closed_forms(kind, tmp_path):
    model = with_values(kind, "joint")
    save_model(tmp_path / "model", model)
    export(tmp_path / "model", tmp_path / "m.pt2")
    assert gap(model, torch.export.load(tmp_path / "m.pt2").module()) < 1e-5


@pytest.mark.extras("onnx", "onnxruntime", "onnxscript")
@pytest.mark.parametrize("kind", EVERY)
def test_onnx_answers_as_the_library_for_every_fusion(kind, tmp_path):
    model = with_values(kind, "joint_multi_label")
    save_model(tmp_path / "model", model)
    export(tmp_path / "model", tmp_path / "m.onnx")
    assert gap(model, onnx(tmp_path / "m.onnx")) < 1e-5


@pytest.mark.parametrize("calibration", ["none", "vector", "dirichlet", "isotonic"])
def test_the_plain_module_answers_as_the_library_for_every_calibration(calibration):
    assert gap(random_model(calibration=calibration)) < 1e-5


@pytest.mark.parametrize(("mode", "pca"), [("speaker", None), ("none", None), ("global", 4)])
def test_the_plain_module_answers_as_the_library_for_every_scaling(mode, pca):
    assert gap(random_model(mode=mode, pca=pca)) < 1e-5


def test_a_torch_program_answers_as_the_run(runs, tmp_path, capsys):
    path = tmp_path / "m.pt2"
    assert main(["export", runs[0], "-o", str(path)]) == 0
    told = capsys.readouterr().out
    assert "parity with semi on 16 random rows" in told and "text (rows, 512)" in told
    assert gap(load_model(runs[0]), torch.export.load(path).module()) < 1e-5


def test_a_file_whose_answers_are_not_the_runs_own_is_not_left_behind(tmp_path):
    model = random_model("concat", task="joint", pca=4, count=1)
    model.ensemble.params["affect_head.weight"] *= 1e6  # float32 knows no millionth of a million
    save_model(tmp_path / "model", model)
    with pytest.raises(RunError, match="differs from the run's own by"):
        export(tmp_path / "model", tmp_path / "m.pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_probabilities_are_exported_with_names(runs, tmp_path):
    export(runs[0], tmp_path / "p.npz")
    held = np.load(tmp_path / "p.npz", allow_pickle=False)
    assert held["probs"].shape == (90, 3) and list(held["classes"]) == ["anger", "calm", "joy"]
    assert list(held["ids"]) == sorted(held["ids"]) and len(set(held["ids"])) == 90
    export(runs[0], tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert table["label"].notna().tolist() == (table["role"] != "pool").tolist()  # hidden ones
    assert (table["role"] == "pool").any()
    with pytest.raises(RunError, match="the ending of"):
        export(runs[0], tmp_path / "m.bin")


def test_onnx_answers_as_the_run_or_names_what_is_missing(runs, tmp_path):
    from importlib.util import find_spec

    if all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
        done = export(runs[1], tmp_path / "m.onnx")
        assert done.difference is not None and done.difference < 1e-5
    else:
        with pytest.raises(SemiError, match=r"ONNX needs the extra packages.*semi-emotion\[onnx\]"):
            export(runs[1], tmp_path / "m.onnx")
