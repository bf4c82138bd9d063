"""Checkpoints that want to run something, and damaged ones: nothing runs."""

import builtins
import importlib
import io
import os
import pickle

import pytest
import torch

from models.encoders.fairseq import load_fairseq
from models.encoders.unpickle import CheckpointError


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def payloads(mark):
    touch = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {mark}"),
        "eval": Call(eval, touch),
        "exec": Call(exec, touch),
        "getattr": Call(getattr, Call(importlib.import_module, "os"), "system"),
        "nested": {"model": {"w": [({"x": Call(os.system, f"touch {mark}")},)]}},
        "open": Call(builtins.open, str(mark), "w"),
        "torch.load": Call(torch.storage._load_from_bytes, b""),
        "torch.hub": Call(torch.hub.load, "a", "b"),
        "partial": Call(__import__("functools").partial, os.system, "true"),
        "class": pickle.Unpickler,
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", list(payloads("x")))
def test_a_malicious_file_is_refused_and_nothing_runs(tmp_path, name, zipped):
    mark, path = tmp_path / "mark", tmp_path / "evil.pt"
    content = {"model": {"w": torch.zeros(2)}, "cfg": payloads(mark)[name]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil.pt was refused: it asks for \S+\.\S+, and"):
        load_fairseq(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cfairseq\n__builtins__\n(S'true'\ntR(dS'x'\nS'y'\nsb.",  # inert, whatever it is called
        b"\x80\x04\x8c\x08builtins\x8c\x0cdict.fromkeys\x93.",
        b"\x80\x04\x8c\x05torch\x8c\x08os.system\x93\x8c\x04true\x85R.",
        b"(S'true'\nios\nsystem\n.",
        b"c__builtin__\neval\n(S'1'\ntR.",
    ],
)
def test_hand_written_pickles_run_nothing(tmp_path, code):
    path = tmp_path / "evil.pt"
    path.write_bytes(code)
    with pytest.raises(CheckpointError):
        load_fairseq(path)


def test_torchscript_damage_and_absence_are_told_apart(tmp_path):
    module = torch.nn.Linear(2, 2)
    buffer = io.BytesIO()
    torch.save({"model": {}}, buffer)
    import zipfile

    script = tmp_path / "script.pt"
    with zipfile.ZipFile(script, "w", zipfile.ZIP_STORED) as archive:
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"script/{name}", b"3" if name == "version" else pickle.dumps(()))
    with pytest.raises(CheckpointError, match="TorchScript"):
        load_fairseq(script)
    (tmp_path / "cut.pt").write_bytes(buffer.getvalue()[:100])
    with pytest.raises(CheckpointError, match="damaged or not a PyTorch checkpoint"):
        load_fairseq(tmp_path / "cut.pt")
    with pytest.raises(CheckpointError, match="is not a file"):
        load_fairseq(tmp_path / "none.pt")
    torch.save(module.state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="it holds no speech encoder"):
        load_fairseq(tmp_path / "other.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="it holds a list"):
        load_fairseq(tmp_path / "list.pt")
