"""An ONNX file is run without this library and without torch, by the script of the docs."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from two_runs import settings, write_manifest

import semi
from models.encoders.char_ngram import CharNgramEncoder
from semi.runs.export import export
from semi.self_training.model_dir import load_model, save_model

ROOT = Path(__file__).parents[1]
TEXTS = ["hurra toll", "nein weg", "so nun", "ruhig", ""]
KINDS = ("contrastive", "contrastive_residual", "discriminant", "logistic", "concat")


def script():
    """Returns the script of the page on formats, with a last line that refuses torch."""
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(import json.*?)^```", page, flags=re.S | re.M)
    return code + "assert not {'torch', 'semi', 'pandas'} & set(sys.modules)\n"


def answers_of(model, vectors):
    """Returns the labels and probabilities (N, C) that the script prints."""
    command = [sys.executable, "-c", script(), str(model), str(vectors)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=model.parent)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], float)


@pytest.mark.extras("onnx", "onnxruntime", "onnxscript")
@pytest.mark.parametrize("mode", ["global", "speaker"])
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_alone_answers_as_semi_predict(kind, mode, tmp_path):
    write_manifest(tmp_path)
    words = [f"model.kind={kind}", f"features.standardize={mode}"]
    run = semi.self_train(settings(tmp_path, kind, *words), progress=False).path
    expected = semi.load(run).predict(texts=TEXTS)
    export(run, tmp_path / "m.onnx")
    present = np.array([[bool(text)] for text in TEXTS])
    np.savez(tmp_path / "v.npz", text=CharNgramEncoder().encode(TEXTS).numpy(), present=present)
    labels, probs = answers_of(tmp_path / "m.onnx", tmp_path / "v.npz")
    assert labels[:4] == expected["label"].tolist()[:4]
    columns = [name for name in expected if name.startswith("p_")]
    np.testing.assert_allclose(probs[:4], expected[columns].to_numpy(float)[:4], atol=1e-5)
    np.testing.assert_allclose(probs[4], 1 / 3, atol=1e-6)  # nothing to go by


@pytest.mark.extras("onnx", "onnxruntime", "onnxscript")
def test_an_onnx_file_names_its_classes_and_encoders_and_no_machine(runs, tmp_path):
    import json

    import onnx

    export(runs[0], tmp_path / "m.onnx")
    assert str(ROOT).encode() not in (tmp_path / "m.onnx").read_bytes()
    about = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(about["classes"]) == ["anger", "calm", "joy"]
    assert json.loads(about["encoders"])["text"]["encoder"] == "char-ngram"


def test_a_torch_program_names_no_machine(runs, tmp_path):
    export(runs[0], tmp_path / "m.pt2")
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert len(contents) > 2 and not any(str(ROOT).encode() in content for content in contents)


def test_a_model_standardised_by_speaker_is_exported_for_an_unknown_one(runs, tmp_path):
    model = load_model(runs[0])
    model.standardizer.mode = "speaker"
    save_model(tmp_path / "model", model)
    exported = export(tmp_path / "model", tmp_path / "m.pt2")
    assert exported.note.endswith("scaled as of a speaker that was not heard in training")
    assert exported.difference is not None and exported.difference < 1e-5
