"""`semi convert`: a fairseq checkpoint becomes a folder of the same numbers, or one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoders import SpeechConfig, build_speech_encoder
from semi.cli import main

SHARED = Path(__file__).resolve().parents[2] / "shared" / "fixtures"


@pytest.mark.parametrize("style", ["fairseq_tiny_hubert", "fairseq_tiny_hubert_large"])
def test_the_folder_gives_the_checkpoints_numbers(style, tmp_path, capsys):
    source = SHARED / style / "ckpt.pt"
    if not source.is_file():
        pytest.skip(f"no genuine fairseq checkpoint at {source}")
    target = tmp_path / "hubert"
    assert main(["convert", str(source), str(target)]) == 0
    out = capsys.readouterr().out
    assert out == f"{target}: use it with encoders.speech.model={target}\n"
    wave = [np.load(SHARED / style / "wave.npy")]
    one, other = (
        build_speech_encoder(SpeechConfig(model=str(m), layers=[1, 2], combine="views"))
        for m in (source, target)
    )
    torch.testing.assert_close(one.encode(wave), other.encode(wave), atol=1e-4, rtol=1e-4)
    assert main(["convert", str(source), str(target)]) == 2
    assert capsys.readouterr().err == (
        f"semi: error: {target} exists already; name a new folder\n"
    )  # fmt: skip


@pytest.mark.parametrize(("content", "told"), [(None, "x.pt"), (b"", "x.pt"), (b"no", "x.pt")])
def test_what_is_no_checkpoint_is_one_sentence(content, told, tmp_path, capsys):
    source = tmp_path / "x.pt"
    if content is not None:
        source.write_bytes(content)
    assert main(["convert", str(source), str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("semi: error: ") and told in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
