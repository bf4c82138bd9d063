"""Checkpoint files by any name and from any hand: read right, or refused in one sentence."""

import argparse
import io
import os
import pickle
import re
import shutil
import struct

import pytest
import torch
from fairseq_files import MODEL, fairseq_names, reference, same, save

from models.encoders import EncoderUnavailable, SpeechConfig, build_speech_encoder
from models.encoders.fairseq import convert, load_checkpoint
from models.encoders.unpickle import CheckpointError, load_inert, plain
from semi.cli import main

WIDE = {"hidden_size": 768, "num_attention_heads": 12, "num_conv_pos_embedding_groups": 16}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".th", "", ".model"])
def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path, capsys, suffix):
    model = reference()
    path = save(tmp_path / f"hubert{suffix}", fairseq_names(model))
    found = build_speech_encoder(SpeechConfig(model=str(path), layers=[0, 1, 2]))
    assert found.model.model_type == "hubert" and found.shape == (16,)
    assert same(found.model.load(), model) == 0
    assert main(["convert", str(path), str(tmp_path / "out")]) == 0
    assert found.model.epsilon == 1e-5
    again = build_speech_encoder(SpeechConfig(model=str(tmp_path / "out"), layers=[0, 1, 2]))
    wave = [torch.randn(4000, generator=torch.Generator().manual_seed(0)).numpy()]
    torch.testing.assert_close(found.encode(wave), again.encode(wave), atol=1e-5, rtol=1e-5)
    capsys.readouterr()


@pytest.mark.parametrize("name", ["no.pt", "no.pth", "no.bin", "no.ckpt", "no.safetensors"])
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(EncoderUnavailable, match=f"model={name} is not a file; give the checkp"):
        build_speech_encoder(SpeechConfig(model=name))


def test_the_weights_of_a_folder_mean_the_folder(tmp_path):
    reference(large=True).save_pretrained(tmp_path / "a")
    folder, file = (
        build_speech_encoder(SpeechConfig(model=str(tmp_path / "a" / name)))
        for name in ("", "model.safetensors")
    )
    assert folder.identity() == file.identity()
    shutil.copy(tmp_path / "a" / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(ValueError, match=r"alone.safetensors was refused: .*config\.json"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path / "alone.safetensors")))


@pytest.mark.parametrize("prefix", ["", "hubert.", "module.hubert."])
@pytest.mark.parametrize("large", [False, True])
def test_a_plain_table_of_transformers_weights(tmp_path, prefix, large):
    model = reference(large=large, num_hidden_layers=1, **WIDE)
    weights = {prefix + name: value for name, value in model.state_dict().items()}
    if prefix:
        weights["lm_head.weight"] = torch.zeros(3, 768)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    loaded = load_checkpoint(tmp_path / "pytorch_model.bin")
    assert loaded.normalize == large and same(loaded.model, model) == 0


def test_a_converted_folder_hears_quiet_sound_as_the_checkpoint_does(tmp_path):
    """fairseq adds 1e-5 to the variance, transformers 1e-7: at -40 dB that is a twentieth."""
    settings = {**MODEL, "extractor_mode": "layer_norm", "layer_norm_first": True}
    weights = fairseq_names(reference(large=True), True)
    path = save(tmp_path / "a.pt", weights, settings, {"normalize": True})
    convert(path, tmp_path / "out")
    quiet = [0.01 * torch.randn(4000, generator=torch.Generator().manual_seed(0)).numpy()]
    one, other = (
        build_speech_encoder(SpeechConfig(model=str(m), layers=[0, 1, 2], combine="views"))
        for m in (path, tmp_path / "out")
    )
    torch.testing.assert_close(one.encode(quiet), other.encode(quiet), atol=1e-6, rtol=0)


def test_unknown_widths_and_other_networks_are_told(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="it holds no speech encoder"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path / "other.ckpt")))
    torch.save(reference().state_dict(), tmp_path / "narrow.bin")
    with pytest.raises(CheckpointError, match="width of 16, so its number of attention heads is"):
        load_checkpoint(tmp_path / "narrow.bin")


def test_data2vec_audio_has_several_positional_convolutions(tmp_path):
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    torch.manual_seed(0)
    model = Data2VecAudioModel(
        Data2VecAudioConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
            conv_dim=(8, 8, 8), conv_kernel=(10, 3, 3), conv_stride=(5, 2, 2),
            num_conv_pos_embeddings=3, conv_pos_kernel_size=6, num_conv_pos_embedding_groups=2,
        )
    ).eval()  # fmt: skip
    deep = r"encoder\.pos_conv_embed\.layers\.(\d)\.conv\."
    weights = {
        re.sub(deep, r"encoder.pos_conv.\1.0.", name): value
        for name, value in fairseq_names(model, large=True).items()
    }
    settings = {
        **MODEL, "_name": "data2vec_audio", "extractor_mode": "layer_norm", "conv_pos": 19,
        "pos_conv_depth": 3,
    }  # fmt: skip
    path = save(tmp_path / "a.pt", weights, settings, {"normalize": True})
    loaded = load_checkpoint(path)
    assert (loaded.kind, loaded.normalize) == ("data2vec-audio", True)
    assert same(loaded.model, model) == 0
    tuned = {f"w2v_encoder.w2v_model.{name}": value for name, value in weights.items()}
    outer = {"_name": "wav2vec_ctc", "w2v_args": {"model": settings, "task": {"normalize": True}}}
    assert same(load_checkpoint(save(tmp_path / "b.pt", tuned, outer)).model, model) == 0


# --- what a pickle can do to things it may name -------------------------------------------------


def old_format(data: bytes) -> bytes:
    """Returns a file of torch's format before zip files, its content given as a pickle."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in head) + data + pickle.dumps([], 2)


def zip_format(data: bytes) -> bytes:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
    return buffer.getvalue()


def setting(module: str, name: str, attribute: str) -> bytes:
    """Returns a pickle that sets an attribute of what it may only name."""
    return (
        b"\x80\x02" + f"c{module}\n{name}\n".encode() + b"N}" + b"X"
        + struct.pack("<I", len(attribute)) + attribute.encode() + b"K\x01s\x86b."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name", "attribute"),
    [
        ("torch._utils", "_rebuild_tensor_v2", "__defaults__"),
        ("torch._utils", "_rebuild_tensor_v2", "_call"),
        ("fairseq.x", "Inert", "dump_patches"),
        ("fairseq.x", "Inert", "__name__"),
        ("fairseq.x", "Inert", "__bases__"),
        ("collections", "OrderedDict", "items"),
        ("torch", "Size", "numel"),
        ("torch", "float32", "x"),
    ],
)
def test_a_file_cannot_change_what_it_names(tmp_path, module, name, attribute):
    path = tmp_path / "evil.pt"
    for pack in (old_format, zip_format):
        path.write_bytes(pack(setting(module, name, attribute)))
        with pytest.raises(CheckpointError):
            load_inert(path)


@pytest.mark.parametrize("named", [b"torch._utils\n_rebuild_tensor_v2", b"fairseq.x\nInert"])
def test_the_old_formats_source_check_writes_no_patch_file(tmp_path, monkeypatch, named):
    """Torch compares a container's source with the file's and may write <name>.patch."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    named = b"c" + named + b"\n"
    text = b"X\x01\x00\x00\x00a"
    data = (
        b"\x80\x02" + named + b"q\x00N}X\x0c\x00\x00\x00dump_patchesI01\ns\x86b0"  # altered
        + b"(X\x06\x00\x00\x00moduleh\x00" + text + text + b"tQ."  # and used as a container
    )  # fmt: skip
    path.write_bytes(old_format(data))
    with pytest.raises(CheckpointError):
        load_inert(path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["evil.pt"]


class Reduced:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "gadget",
    [
        lambda mark: Reduced(os.system, f"touch {mark}"),
        lambda mark: Reduced(eval, f"open({mark!r}, 'w')"),
        lambda mark: Reduced(torch.serialization.load, mark),
        lambda mark: Reduced(torch.utils.data.get_worker_info),
        lambda mark: Reduced(torch._utils._import_dotted_name, "os.system"),
        lambda mark: Reduced(torch._utils._rebuild_wrapper_subclass, os.system),
        lambda mark: Reduced(__import__("importlib").import_module, "this"),
        lambda mark: Reduced(torch.serialization._get_restore_location, "cpu"),
        lambda mark: Reduced(__import__("subprocess").call, ["touch", mark]),
        lambda mark: Reduced(__import__("pty").spawn, "true"),
        lambda mark: Reduced(__import__("code").interact),
        lambda mark: Reduced(__import__("runpy").run_path, mark),
        lambda mark: Reduced(__import__("operator").attrgetter, "system"),
        lambda mark: Reduced(__import__("shutil").rmtree, mark),
        lambda mark: Reduced(__import__("webbrowser").open, mark),
    ],
)
def test_calls_hidden_in_the_name_of_a_storage_are_refused_too(tmp_path, gadget):
    """Persistent ids hold objects of their own, which are unpickled before they are looked at."""
    mark = str(tmp_path / "mark")

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return ("storage", gadget(mark), "0", "cpu", 1) if item == "here" else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"model": ["here"]})
    path = tmp_path / "evil.pth"
    for pack in (old_format, zip_format):
        path.write_bytes(pack(buffer.getvalue()))
        with pytest.raises(CheckpointError, match=r"evil\.pth was refused: it asks for"):
            load_checkpoint(path)
    assert not os.path.exists(mark)


def test_a_tar_of_before_2018_is_refused(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "old.pt", "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            data = pickle.dumps(Reduced(os.system, f"touch {tmp_path}/mark"))
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    with pytest.raises(CheckpointError, match="tar archive of before 2018"):
        load_checkpoint(tmp_path / "old.pt")
    assert not (tmp_path / "mark").exists()


def test_settings_that_repeat_themselves_cost_no_more_than_the_file(tmp_path):
    bomb: list = ["x"]
    for _ in range(200):
        bomb = [bomb, bomb]
    content = {"args": argparse.Namespace(**MODEL, bomb=bomb), "model": fairseq_names(reference())}
    torch.save(content, tmp_path / "a.pt")
    assert same(load_checkpoint(tmp_path / "a.pt").model, reference()) == 0
    loop: dict = {}
    loop["loop"] = loop
    torch.save({"cfg": loop, "model": {}}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"b\.pt cannot be used"):
        load_checkpoint(tmp_path / "b.pt")
    assert plain({"a": [1, {"b": 2}]}) == {"a": [1, {"b": 2}]}
