"""Exported models answer as the library does, in batches of any size."""

import numpy as np
import pytest
import torch
from two_runs import runs  # noqa: F401

from models.fusion import FusionConfig
from models.fusion.config import CLOSED_FORM, KINDS
from pseudo_label.calibration import fit_calibration
from semi.cli import main
from semi.config.schema import load_config
from semi.errors import RunError
from semi.features.config import FeaturesConfig
from semi.features.standardize import Standardizer
from semi.features.tensors import Features
from semi.runs.export import _examples, _own, _write_onnx, _write_program, export
from semi.runs.shipped import Shipped
from semi.self_training.model_dir import Model, load_model
from semi.self_training.teacher import Voter
from semi.training.ensemble import Ensemble

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
    loaded = load_config(None, ["data.manifest=m.csv", *words])
    loaded.task.kind = task
    return Model(
        config=loaded,
        classes=["x", "y", "z"],
        ensemble=Ensemble.create(fusion, dims, 3, count=count, seed=1),
        voter=Voter(heads, fitted, torch.tensor([0.4, 0.3, 0.2, 0.1]), multi),
        chains=2,
        standardizer=scale,
        identities={},
    )


def gap(model):
    """Returns how far the plain module is from the library's answer."""
    module = Shipped(model).eval()
    inputs, present = _examples(module)
    both = zip(module(inputs, present), _own(model, inputs, present), strict=True)
    return max(float((a - b).abs().max()) for a, b in both)


@pytest.mark.parametrize("kind", EVERY)
def test_the_plain_module_answers_as_the_library_for_every_fusion(kind):
    assert gap(random_model(kind)) < 1e-5


TASKS = ("multi_label", "affect", "joint", "joint_multi_label")
SEQUENCES = ["encoders.speech.pooling=frames", "model.kind=cross_attention",
             "features.max_frames=5"]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_the_plain_module_answers_as_the_library_for_every_task(task):
    model = random_model(task=task)
    assert gap(model) < 1e-5
    said = Shipped(model).eval()(*_examples(Shipped(model)))
    widths = {"multi_label": [3], "affect": [2]}.get(task, [3, 2])
    assert [x.shape[1] for x in said] == widths


@pytest.mark.parametrize("task", ["single", "joint_multi_label"])
def test_the_plain_module_answers_as_the_library_for_sequences(task):
    model = random_model("cross_attention", task=task, words=SEQUENCES)
    inputs, _ = _examples(Shipped(model))
    assert inputs[0].shape == (16, 5, 12) and inputs[1].shape == (16, 7)
    assert inputs[0][0, 1:].isnan().all() and not inputs[0][4].isnan().any()
    assert gap(model) < 1e-5


def with_values(kind, task):
    """Returns a model of two members that also says valence and arousal, if its kind can."""
    words = SEQUENCES if kind == "cross_attention" else ()
    return random_model(kind, task="single" if kind in CLOSED_FORM else task, words=words, count=2)


def written(model, path, write):
    """Returns how far the file is from the library's answer, in batches of three sizes."""
    module = Shipped(model).eval()
    inputs, present = _examples(module)
    both = zip(write(module, inputs, present, path), _own(model, inputs, present), strict=True)
    return max(float((a - b).abs().max()) for a, b in both)


@pytest.mark.parametrize("kind", EVERY)
def test_a_torch_program_answers_as_the_library_for_every_fusion(kind, tmp_path):
    model = with_values(kind, "joint")
    assert written(model, tmp_path / "m.pt2", _write_program) < 1e-5


@pytest.mark.extras("onnx", "onnxruntime", "onnxscript")
@pytest.mark.parametrize("kind", EVERY)
def test_onnx_answers_as_the_library_for_every_fusion(kind, tmp_path):
    model = with_values(kind, "joint_multi_label")
    assert written(model, tmp_path / "m.onnx", _write_onnx) < 1e-5


@pytest.mark.parametrize("calibration", ["none", "vector", "dirichlet", "isotonic"])
def test_the_plain_module_answers_as_the_library_for_every_calibration(calibration):
    assert gap(random_model(calibration=calibration)) < 1e-5


@pytest.mark.parametrize(("mode", "pca"), [("speaker", None), ("none", None), ("global", 4)])
def test_the_plain_module_answers_as_the_library_for_every_scaling(mode, pca):
    assert gap(random_model(mode=mode, pca=pca)) < 1e-5


def test_a_torch_program_answers_as_the_run(runs, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "m.pt2"
    assert main(["export", runs[0], "-o", str(path)]) == 0
    told = capsys.readouterr().out
    assert "parity with semi on 16 random rows" in told and "text (rows, 512)" in told
    again = torch.export.load(path).module()
    model = load_model(runs[0])
    inputs, present = _examples(Shipped(model))
    for rows in (1, 3, 16):
        (said,) = again([x[:rows] for x in inputs], present[:rows])
        own = _own(model, inputs, present)[0][:rows]
        torch.testing.assert_close(said, own, atol=1e-5, rtol=0)


def test_a_file_that_differs_is_not_left_behind(runs, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("semi.runs.export._own", lambda *given: [torch.zeros(16, 3)])
    with pytest.raises(RunError, match="differs from the run's own"):
        export(runs[0], tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


def test_probabilities_are_exported_with_names(runs, tmp_path):  # noqa: F811
    export(runs[0], tmp_path / "p.npz")
    held = np.load(tmp_path / "p.npz", allow_pickle=False)
    assert held["probs"].shape == (90, 3) and list(held["classes"]) == ["anger", "calm", "joy"]
    assert held["ids"][4] == "u4"
    with pytest.raises(RunError, match="the ending of"):
        export(runs[0], tmp_path / "m.bin")


def test_onnx_answers_as_the_run_or_names_what_is_missing(runs, tmp_path):  # noqa: F811
    from importlib.util import find_spec

    if all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
        done = export(runs[1], tmp_path / "m.onnx")
        assert done.difference is not None and done.difference < 1e-5
    else:
        with pytest.raises(Exception, match=r"ONNX needs the extra packages.*semi-emotion\[onnx\]"):
            export(runs[1], tmp_path / "m.onnx")
