"""Adapting encoders: on which rows, resumed, on two processes, its result, and what is refused."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from killed_adaptation import killed_adaptation
from test_text_encoder import TEXTS, folder
from tiny_models import write_models

from models.encoders import SpeechConfig, TextConfig, build_speech_encoder, build_text_encoder
from models.encoders.pruning_auto import SENTENCE
from semi.config.schema import Config, load_config, save
from semi.data.manifest import Manifest
from semi.data.reviews import Review, append_reviews, read_reviews
from semi.data.roles import Splits
from semi.errors import ConfigError, ManifestError, RunError
from semi.features.config import EncodersConfig
from semi.runs.verify import verify
from semi.training.finetune.data import gold_rows
from semi.training.finetune.finetune import finetune
from semi.training.finetune.provenance import adapted_on, encoder_notes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """24 half-second tones of two classes, three speakers, and six rows of each other side."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    rows = []
    for i in range(36):
        label = i % 2
        time = np.arange(8_000 + 160 * i) / 16_000
        wave = 0.2 * np.sin(2 * np.pi * (200 + 900 * label) * time)
        wave += 0.02 * random.normal(size=len(time))
        soundfile.write(folder / f"{i}.wav", wave, 16_000)
        side = "train" if i < 24 else "test" if i < 30 else "unlabeled"
        speaker = f"s{i // 2 % 3}" if i < 24 else f"t{i}"
        given = ["low", "high"][label] if i < 30 else ""
        rows.append((f"u{i}", f"{i}.wav", given, speaker, side))
    table = pd.DataFrame(rows, columns=["id", "audio", "label", "speaker", "split"])
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture
def configure(models, manifest, tmp_path):
    def make(*words, model="hubert-large", name="t"):
        base = [
            f"name={name}", f"data.manifest={manifest}", f"runs_dir={tmp_path}",
            f"encoders.speech.model={models / model}", "encoders.text.model=none",
            "finetune.steps=4", "finetune.batch=4", "finetune.accumulate=1",
            "finetune.save_every=2", "train.folds=3", "threads=1",
        ]  # fmt: skip
        return load_config(None, [*base, *words])

    return make


def test_it_learns_from_gold_training_rows_alone(configure):
    rows = gold_rows(configure(), ["speech"])
    assert {int(i[1:]) for i in rows.ids} <= set(range(24))
    speakers = rows.table["speaker"]
    assert not set(speakers.iloc[rows.train]) & set(speakers.iloc[rows.watch])
    assert len(rows.train) + len(rows.watch) == 24
    assert len(gold_rows(configure("finetune.watch=false"), ["speech"]).train) == 24
    few = gold_rows(configure("data.labeled_count=8", "finetune.watch=false"), ["speech"])
    assert len(few.train) == 8


def test_the_folder_it_writes_is_an_encoder_that_tells_classes_apart_better(configure, manifest):
    config = configure("finetune.steps=12", "finetune.lr=3e-3", "finetune.speech=whole")
    done = finetune(config, progress=False)
    folder = done.folders["speech"]
    assert adapted_on(folder) == set(gold_rows(config, ["speech"]).ids)
    assert [now["step"] for now in done.history] == [2, 4, 6, 8, 10, 12]
    assert done.history[-1]["loss"] < done.history[0]["loss"]
    assert done.history[-1]["watch_macro_f1"] > 0.9
    assert f"use it with encoders.speech.model={folder}" in str(done)
    batch = [soundfile.read(manifest.parent / f"{i}.wav", dtype="float32")[0] for i in range(2)]
    after = build_speech_encoder(SpeechConfig(model=folder))
    before = build_speech_encoder(config.encoders.speech)
    assert after.identity() != before.identity()
    assert (after.encode(batch) - before.encode(batch)).abs().max() > 1e-3
    with pytest.raises(RunError, match="already holds an adapted encoder; choose another name"):
        finetune(config, progress=False)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(Path(folder) / "model.safetensors")


def test_a_killed_adaptation_resumes_to_the_same_weights(configure, tmp_path):
    whole = finetune(configure(name="whole"), progress=False)
    config = configure(name="cut")
    killed_adaptation(config)
    with pytest.raises(RunError, match="unfinished adaptation; continue it with --resume"):
        finetune(config, progress=False)
    with pytest.raises(RunError, match=r"begun with other settings \(finetune differ\)"):
        finetune(configure("finetune.lr=1", name="cut"), resume=True, progress=False)
    again = finetune(config, resume=True, progress=False)
    assert again.history == whole.history
    one, other = (weights(done.folders["speech"]) for done in (whole, again))
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert not (tmp_path / "cut-finetune" / "checkpoint.safetensors").exists()


def test_a_resumed_adaptation_learns_from_the_reviews_it_was_begun_with(
    configure, tmp_path, capsys
):
    said = tmp_path / "r.csv"
    append_reviews(said, [Review("u31", "label", "high", "x"), Review("u0", "label", "high", "x")])
    words = (f"data.reviews={said}",)
    whole = finetune(configure(*words, name="whole"), progress=False)
    config = configure(*words, name="cut")
    killed_adaptation(config)
    append_reviews(said, [Review("u31", "label", "low", "x"), Review("u33", "label", "low", "x")])
    with pytest.raises(RunError, match=r"begun with other settings \(rows, reviews differ\)"):
        finetune(configure("data.reviews=[]", name="cut"), resume=True, progress=False)
    again = finetune(config, resume=True, progress=False)
    assert "goes on with the 2 reviews that it was begun with; 2 others have come since" in (
        capsys.readouterr().err
    )
    assert again.history == whole.history
    one, other = (weights(done.folders["speech"]) for done in (whole, again))
    assert all(torch.equal(one[k], other[k]) for k in one)
    home = tmp_path / "cut-finetune"
    assert len(read_reviews(home / "gold_reviews.csv")) == 2 and not verify(home).problems
    (home / "gold_reviews.csv").write_text("id,verdict\n")
    assert any("gold_reviews.csv" in problem for problem in verify(home).problems)


def test_pruning_is_on_while_it_learns_and_bf16_runs(configure):
    pruning = "encoders.speech.pruning={method: merge, keep_rate: 0.5, k_min: 4, layer: 1}"
    done = finetune(
        configure(pruning, "precision=bf16", "finetune.checkpointing=true", model="whisper"),
        progress=False,
    )
    assert np.isfinite([now["loss"] for now in done.history]).all()
    auto = configure("encoders.speech.pruning.method=auto", "finetune.steps=1", name="auto")
    assert SENTENCE in finetune(auto, progress=False).notes and SENTENCE not in done.notes


def test_speech_and_text_learn_together_and_rows_may_lack_either(configure, manifest, tmp_path):
    table = pd.read_csv(manifest)
    table["text"] = [TEXTS[i % len(TEXTS)] if i % 3 else None for i in range(len(table))]
    table.loc[1, "audio"] = None
    table["audio"] = [str(manifest.parent / a) if isinstance(a, str) else a for a in table["audio"]]
    table.to_csv(tmp_path / "both.csv", index=False)
    words = [
        f"data.manifest={tmp_path / 'both.csv'}", f"encoders.text.model={folder('bert', tmp_path)}",
        "finetune.text=whole", "finetune.contrast=0.5", "data.allow_leaks=[text]",
        "finetune.checkpointing=true", "finetune.watch=false",
    ]  # fmt: skip
    done = finetune(configure(*words), progress=False)
    vector = build_text_encoder(TextConfig(model=done.folders["text"])).encode(TEXTS[:1])
    before = build_text_encoder(TextConfig(model=str(tmp_path))).encode(TEXTS[:1])
    assert (vector - before).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["finetune.speech=none"], "finetune has nothing to do"),
        (["encoders.speech.model=acoustic"], "encoders.speech.model=acoustic has no weights"),
        (["finetune.speech=most"], "speech must be one of none, top, whole, lora, got 'most'"),
        (["finetune.contrast=1"], "contrast needs both encoders to learn"),
        (["finetune.prune_end=0"], "prune_start and prune_end must be rising"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(configure, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        finetune(configure(*words), progress=False)


def test_an_encoder_that_has_seen_test_rows_is_refused(tmp_path):
    (tmp_path / "adapted_on.csv").write_text("id\na\nb\n")
    speech, text = SpeechConfig(model=str(tmp_path)), TextConfig(model="char-ngram")
    config = Config(encoders=EncodersConfig(speech, text))
    manifest = Manifest(pd.DataFrame({"id": ["a", "b", "c"]}), ["x"], "m.csv")
    splits = Splits(
        role=np.array(["labeled", "labeled", "test"]),
        label=np.zeros(3, int),
        target=np.ones((3, 1), np.float32),
        group=np.array(["a", "b", "c"]),
        fold=np.array([0, 1, -1]),
    )
    (note,) = encoder_notes(config, manifest, splits)
    assert note.startswith("the speech encoder was adapted on gold rows of this manifest")
    splits.role[1] = "test"
    with pytest.raises(ManifestError, match=r"adapted on 1 utterance of the dev or test .* b:"):
        encoder_notes(config, manifest, splits)


PROGRAM = """
import json, sys
import torch
torch.set_num_threads(1)
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from semi.config.schema import load_config
from semi.training.finetune.finetune import finetune
from semi.config.finetune import FinetuneConfig
from semi.training.finetune.learner import objective

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head, self.meet = (torch.nn.Linear(5, n) for n in (5, 3, 4))
    def forward(self, *views):
        states = [self.trunk(v).tanh() for v in views]
        return dict(zip(("speech", "text"), [(self.head(s), self.meet(s)) for s in states]))

def loss(model, rows):
    heard = {"speech": speech[rows], "text": text[rows]}
    return objective(model(a[rows], b[rows]), heard, target[rows], label[rows], about)

torch.manual_seed(0)
about = FinetuneConfig(speech="top", text="top", contrast=0.5)
net = Net()
a, b, label = torch.randn(6, 5), torch.randn(6, 5), torch.tensor([0, 1, 2, 2, 1, 1])
target = torch.nn.functional.one_hot(label, 3).float()
speech, text = torch.tensor([1.0, 1, 1, 0, 1, 1]), torch.tensor([1.0, 1, 0, 1, 1, 1])
loss(net, slice(None)).backward()
alone = [p.grad.clone() for p in net.parameters()]
net.zero_grad()

dist.init_process_group("gloo")
rank = dist.get_rank()
model = DistributedDataParallel(net)
loss(model, slice(rank * 3, rank * 3 + 3)).backward()
worst = max((p.grad - q).abs().max().item() for p, q in zip(net.parameters(), alone))
smallest = min(q.abs().max().item() for q in alone)
done = finetune(load_config(sys.argv[1]), progress=False)
if rank == 0:
    print(json.dumps({"worst": worst, "smallest": smallest, "history": done.history}))
dist.destroy_process_group()
"""


def test_two_processes_come_to_what_one_comes_to(configure, tmp_path):
    """Classification and contrastive gradients with missing rows, then an adaptation, pruned."""
    words = (
        "finetune.steps=3",
        "encoders.speech.pruning={method: merge, keep_rate: 0.5, k_min: 4}",
    )
    save(configure(*words, name="two"), tmp_path / "two.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "two.yaml")],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **world, "RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], said[0][1][-2000:]
    found = json.loads(said[0][0].splitlines()[-1])
    assert found["worst"] < 1e-6 < 1e-4 < found["smallest"]
    one = finetune(configure(*words, name="one"), progress=False)
    assert found["history"] == [
        {k: pytest.approx(v, abs=1e-6) for k, v in now.items()} for now in one.history
    ]
    ours, theirs = (weights(tmp_path / f"{n}-finetune" / "speech") for n in ("one", "two"))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=1e-5)
    with pytest.raises(AssertionError):  # they have learned something
        start = weights(configure().encoders.speech.model)
        torch.testing.assert_close(start, ours, atol=1e-6, rtol=1e-5)
