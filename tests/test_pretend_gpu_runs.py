"""Whole verbs on the pretend GPU: the ledger and model of the CPU, from real speech on."""

import numpy as np
import pytest
import soundfile
import torch
from pretend_gpu import pretend_gpu
from safetensors.torch import load_file
from spoken_table import spoken_settings, write_spoken
from test_text_encoder import TEXTS, folder
from tiny_speech import tiny

import semi
from semi.config.schema import load_config
from semi.training.finetune.finetune import finetune


def test_a_run_of_recipe_auto_writes_the_ledger_and_the_model_of_the_cpu(tmp_path, store):
    write_spoken(tmp_path)

    def run(name, *words):
        config = spoken_settings(tmp_path, store, name, "recipe=auto", *words)
        return semi.self_train(config, progress=False).path

    want = run("cpu")
    with pretend_gpu() as work:
        got = run("gpu", "device=cuda")
    assert (got / "ledger.csv").read_bytes() == (want / "ledger.csv").read_bytes()
    one, other = (load_file(path / "model" / "model.safetensors") for path in (want, got))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, equal_nan=True)
    assert sum(work.launches.values()) > 1000
    assert sum(work.waits.values()) < 700, work.table()


@pytest.fixture
def adapted(tmp_path):
    """Returns settings that fine-tune tiny encoders of sound and text on a few tones."""
    for name, model in (("speech", tiny("hubert-base")), ("text", None)):
        if model is None:
            folder("bert", tmp_path / name)
            continue
        for key, value in vars(model.config).items():
            if "dropout" in key and isinstance(value, float):
                setattr(model.config, key, 0.0)
        model.save_pretrained(tmp_path / name)
    lines = ["id,audio,text,label,speaker"]
    for i in range(12):
        time = np.arange(8_000 + 160 * i) / 16_000
        wave = 0.2 * np.sin(2 * np.pi * (200 + 900 * (i % 2)) * time)
        soundfile.write(tmp_path / f"{i}.wav", wave, 16_000)
        lines.append(f"u{i},{i}.wav,{TEXTS[i % 8]},{['low', 'high'][i % 2]},s{i // 2 % 3}")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")

    def make(name, steps, *words):
        return load_config(None, [
            f"name={name}", f"data.manifest={tmp_path}/m.csv", f"runs_dir={tmp_path}",
            f"encoders.speech.model={tmp_path}/speech", f"encoders.text.model={tmp_path}/text",
            "encoders.speech.pruning.method=merge", "encoders.speech.pruning.k_min=4",
            "finetune.text=top", "finetune.contrast=0.1", f"finetune.steps={steps}",
            "finetune.batch=4", "finetune.save_every=9", "finetune.watch=false", "train.folds=2",
            "threads=1", "data.workers=1",
            "data.allow_leaks=[text,audio]", *words,
        ])  # fmt: skip

    return make


def test_encoders_are_adapted_to_the_numbers_of_the_cpu_without_a_wait_of_ours_in_a_step(adapted):
    want = finetune(adapted("cpu", 4), progress=False).history
    works = []
    for steps in (2, 4):
        with pretend_gpu() as work:
            got = finetune(adapted(f"gpu{steps}", steps, "device=cuda"), progress=False).history
        works.append(work)
    assert [line["step"] for line in got] == [line["step"] for line in want]
    assert got[-1]["loss"] == pytest.approx(want[-1]["loss"], abs=1e-4)
    less, more = works
    # transformers itself asks the device whether texts are padded, twice where they learn
    added = {at: n for at, n in (more.waits - less.waits).items() if "trainable.py" not in at[1]}
    assert not added, more.table()
    assert sum((more.waits - less.waits).values()) <= 2 * (4 - 2), more.table()
