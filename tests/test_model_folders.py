"""Model folders: no code of theirs ever runs, nothing waits for an answer, pointers are named."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_speech import tiny

from models.encoders import (
    EncoderUnavailable,
    SpeechConfig,
    TextConfig,
    build_speech_encoder,
    build_text_encoder,
)
from models.encoders.array_files import ArrayError, load_array
from models.encoders.unpickle import CheckpointError, load_inert

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 378\n"
CODE = """
from transformers import PretrainedConfig
open({path!r}, "w").write("the folder's code ran")
class Mine(PretrainedConfig):
    model_type = "mine"
"""


def with_code(folder: Path, model_type: str, file: str) -> Path:
    """A folder whose `file` names a class of its own, which would leave a mark if it ran."""
    tiny("hubert-base").save_pretrained(folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "model_type": model_type}))
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    names = {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine", "AutoTokenizer": "mine.Mine"}
    path.write_text(json.dumps({**content, "auto_map": names}))
    (folder / "mine.py").write_text(CODE.format(path=str(folder / "RAN")))
    return folder


@pytest.mark.parametrize("modality", ["speech", "text"])
@pytest.mark.parametrize("model_type", ["mine", "hubert", "bert"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_code_in_a_folder_is_refused_in_one_sentence(modality, model_type, file, tmp_path):
    folder = with_code(tmp_path, model_type, file)
    with pytest.raises(EncoderUnavailable) as told:
        if modality == "speech":
            build_speech_encoder(SpeechConfig(model=str(folder)))
        else:
            build_text_encoder(TextConfig(model=str(folder)))
    assert str(told.value) == (
        f"encoders.{modality}.model={folder} brings Python code of its own (auto_map in {file}), "
        f"which is never run here; give a model whose code is part of transformers"
    )
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize("answer", [None, "y\ny\ny\n"])
def test_nothing_waits_for_an_answer_and_yes_changes_nothing(answer, tmp_path):
    folder = with_code(tmp_path / "it's mine", "mine", "config.json")
    program = (
        f"from models.encoders import *\nbuild_speech_encoder(SpeechConfig(model={str(folder)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        input=answer,
        stdin=subprocess.DEVNULL if answer is None else None,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "which is never run here" in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (folder / "RAN").exists()


def test_code_nested_in_a_processor_is_seen_too(tmp_path):
    tiny("hubert-base").save_pretrained(tmp_path)
    nested = {"feature_extractor": {"auto_map": {"AutoFeatureExtractor": "mine.Mine"}}}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    with pytest.raises(EncoderUnavailable, match=r"auto_map in processor_config\.json"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path)))


def test_an_adapter_is_refused_rather_than_left_out_or_added(tmp_path):
    tiny("hubert-base").save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "x/y"}')
    with pytest.raises(EncoderUnavailable, match=r"holds a PEFT adapter .* merge it into its base"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path)))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pointer_in_a_folder_is_named_with_the_command_that_helps(file, tmp_path):
    folder = tmp_path / "a folder"
    tiny("hubert-base").save_pretrained(folder)
    (folder / file).write_bytes(POINTER)
    with pytest.raises(EncoderUnavailable) as told:
        build_speech_encoder(SpeechConfig(model=str(folder)))
    text, _, command = str(told.value).partition("; run: ")
    assert text == (
        f"encoders.speech.model={folder}: its {file} is a Git LFS pointer, not the file itself"
    )
    assert shlex.split(command) == ["git", "-C", str(folder), "lfs", "pull"]


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.ckpt"])
def test_a_pointer_in_place_of_a_checkpoint_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match="is a Git LFS pointer, not the file itself; run: "):
        load_inert(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_a_pointer_in_place_of_an_array_is_named(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(POINTER)
    with pytest.raises(ArrayError, match="is a Git LFS pointer, not the file itself; run: "):
        load_array(path)
    with pytest.raises(EncoderUnavailable, match=r"a\.npz is a Git LFS pointer"):
        (tmp_path / "a.npz").write_bytes(POINTER)
        config = SpeechConfig(model="precomputed", path=str(tmp_path / "a.npz"))
        assert build_speech_encoder(config).shape


SIZES = {
    "conv_stride": [5, 2, 2, 2, 2, 2, 0],
    "conv_kernel": [10, 3, 3, 3, 3, 2, -2],
    "conv_dim": [[16]] * 7,
    "hidden_size": 0,
    "num_hidden_layers": "2",
    "num_attention_heads": 1.5,
    "intermediate_size": {"a": 1},
}


@pytest.mark.parametrize(("name", "value"), SIZES.items())
def test_a_size_that_no_model_has_is_named(name, value, tmp_path):
    tiny("hubert-base").save_pretrained(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**about, name: value}))
    with pytest.raises(EncoderUnavailable, match=f"its config.json has {name}="):
        build_speech_encoder(SpeechConfig(model=str(tmp_path)))
