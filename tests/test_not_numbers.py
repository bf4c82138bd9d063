"""Weights that are no numbers are refused where they are read, never turned into answers."""

from __future__ import annotations

import pytest
import torch
from fairseq_files import fairseq_names, reference, save
from tiny_speech import tiny, waves

from models.encoders import EncoderUnavailable, SpeechConfig, build_speech_encoder
from semi.cli import main
from semi.errors import RunError
from semi.self_training.model_dir import load_model, save_model


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_folder_with_weights_that_are_no_numbers_is_refused(value, tmp_path):
    model = tiny("hubert-base")
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.output_dense.bias[3] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(
        EncoderUnavailable,
        match=r"holds NaN or infinity in 1 of its weights \(first: encoder\.layers\.1\.feed_forw",
    ):
        build_speech_encoder(SpeechConfig(model=str(tmp_path))).encode(waves(4_000))


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_convert_refuses_them_and_leaves_nothing_behind(value, tmp_path, capsys):
    weights = fairseq_names(reference())
    weights["encoder.layers.0.fc1.weight"][0, 0] = value
    path = save(tmp_path / "a.pt", weights)
    assert main(["convert", str(path), str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert f"{path} cannot be used: 1 of its" in err and "hold NaN or infinity" in err
    assert err.count("\n") == 1 and [p.name for p in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("every", [True, False])
def test_a_model_of_nan_has_no_answers_and_no_export(every, runs, tmp_path, capsys):
    home = tmp_path / "model"
    model = load_model(runs[0])
    tensors = model.ensemble.tensors()
    with torch.no_grad():
        for name in sorted(tensors)[: None if every else 1]:
            tensors[name].fill_(torch.nan)
    save_model(home, model)
    with pytest.raises(RunError, match=r"model\.safetensors holds NaN in \d+ of its \d+ tensors"):
        load_model(home)
    assert main(["export", str(home), "-o", str(tmp_path / "m.pt2")]) == 2
    err = capsys.readouterr().err
    assert "holds NaN" in err and err.count("\n") == 1
    assert not (tmp_path / "m.pt2").exists()
