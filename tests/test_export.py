"""Exported models answer as the library does, in batches of any size."""

import numpy as np
import pytest
import torch
from two_runs import runs  # noqa: F401

from models.fusion import FusionConfig
from models.fusion.config import KINDS
from pseudo_label.calibration import fit_calibration
from semi.cli import main
from semi.config import load_config
from semi.ensemble import Ensemble
from semi.errors import RunError
from semi.export import Shipped, _examples, _own, export
from semi.features.config import FeaturesConfig
from semi.features.standardize import Standardizer
from semi.features.tensors import Features
from semi.model_dir import Model, load_model
from semi.teaching import Voter


def random_model(kind="contrastive", calibration="temperature", pca=None, mode="global"):
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
    fitted = {h: fit_calibration(logits[i], label, calibration) for i, h in enumerate(heads)}
    fusion = FusionConfig(kind=kind, hidden=8, projection=4)
    return Model(
        config=load_config(None, ["data.manifest=m.csv"]),
        classes=["x", "y", "z"],
        ensemble=Ensemble.create(fusion, dims, 3, count=4, seed=1),
        voter=Voter(heads, fitted, torch.tensor([0.4, 0.3, 0.2, 0.1])),
        chains=2,
        standardizer=scale,
        identities={},
    )


def gap(model):
    """Returns how far the plain module is from the library's answer."""
    module = Shipped(model).eval()
    inputs, present = _examples(module)
    return float((module(inputs, present) - _own(model, inputs, present)).abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_module_answers_as_the_library_for_every_fusion(kind):
    assert gap(random_model(kind)) < 1e-5


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
        said = again([x[:rows] for x in inputs], present[:rows])
        own = _own(model, inputs, present)[:rows]
        torch.testing.assert_close(said, own, atol=1e-5, rtol=0)


def test_a_file_that_differs_is_not_left_behind(runs, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("semi.export._own", lambda *given: torch.zeros(16, 3))
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
