"""Weights and stores made to harm: nothing of them runs, no file of other folders is opened."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from test_store_integrity import shelf  # noqa: F401
from tiny_speech import tiny

from models.encoders import EncoderUnavailable, SpeechConfig, build_speech_encoder
from semi.errors import StoreError
from semi.guarded_files import guarded


class Harm:
    def __reduce__(self):
        return os.mkdir, ("RAN",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("where", ["a weight", "beside the weights", "the whole file"])
def test_code_in_a_bin_of_weights_is_refused_and_never_runs(zipped, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny("hubert-base")
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    weights = dict(model.state_dict())
    key = next(iter(weights))
    held = {
        "a weight": weights | {key: Harm()},
        "beside the weights": weights | {"more": Harm()},
        "the whole file": Harm(),
    }[where]
    torch.save(held, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(EncoderUnavailable, match=re.escape(f"{folder} cannot be loaded")):
        build_speech_encoder(SpeechConfig(model=str(folder))).encode([np.zeros(8000, np.float32)])
    assert not Path("RAN").exists()


@pytest.mark.parametrize("part", ["data", "index"])
@pytest.mark.parametrize("way", ["../other/{}", "{0.parent}/other/{1}", "./{}"])
def test_a_store_that_names_a_file_elsewhere_is_refused(shelf, part, way, tmp_path):  # noqa: F811
    about = json.loads((shelf.folder / "store.json").read_text())
    about.pop("sha256")
    other = shelf.folder.parent / "other"
    other.mkdir()
    name = about[part]["name"]
    shutil.copy(shelf.folder / name, other / name)
    about[part]["name"] = way.format(shelf.folder, name) if "{0" in way else way.format(name)
    (shelf.folder / "store.json").write_text(guarded(about), encoding="utf-8")
    with pytest.raises(StoreError, match=r"its store\.json names a file of another folder"):
        shelf.open()
