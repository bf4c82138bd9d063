"""Adapting encoders: what may learn, on which rows, resumed, on two processes, and its result."""

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
from tiny_speech import tiny, waves

from models.encoders import SpeechConfig, TextConfig, build_speech_encoder, build_text_encoder
from models.encoders.base import EncoderUnavailable
from models.encoders.layer_decay import layer_decay_groups
from models.encoders.pruning_auto import SENTENCE
from models.encoders.trainable import TrainableSpeech, TrainableText
from models.losses.gather import gather_with_grad
from semi.config.finetune import FinetuneConfig
from semi.config.schema import Config, load_config, save
from semi.data.manifest import Manifest
from semi.data.reviews import Review, append_reviews, read_reviews
from semi.data.roles import Splits
from semi.errors import ConfigError, ManifestError, RunError
from semi.features.config import EncodersConfig
from semi.runs.verify import verify
from semi.training.finetune.data import drawn, gold_rows
from semi.training.finetune.finetune import finetune
from semi.training.finetune.learner import pruner_at, rate_at
from semi.training.finetune.provenance import adapted_on, encoder_notes

ROOT = Path(__file__).parents[1]
KINDS = ("hubert-base", "hubert-large", "whisper")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny random encoders without dropout, so that numbers can be compared."""
    folder = tmp_path_factory.mktemp("models")
    for name in KINDS:
        model = tiny(name)
        for key, value in vars(model.config).items():
            if "dropout" in key and isinstance(value, float):
                setattr(model.config, key, 0.0)
        model.save_pretrained(folder / name)
    return folder


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


def encoder(models, name, **settings):
    return TrainableSpeech(SpeechConfig(model=str(models / name), **settings))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layers", [[], [1, 2]])
def test_it_learns_on_the_very_vectors_that_extraction_stores(models, name, layers):
    batch = waves(9_000, 16_000, 12_345)
    frozen = build_speech_encoder(SpeechConfig(model=str(models / name), layers=layers))
    learning = encoder(models, name, layers=layers)
    learning.choose("top", top=1)
    for now in (learning.train(), learning.eval()):
        torch.testing.assert_close(now(batch), frozen.encode(batch), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("combine", ["mean", "concat"])
def test_it_learns_on_the_very_text_vectors_that_extraction_stores(kind, combine, tmp_path):
    config = TextConfig(model=str(folder(kind, tmp_path)), layers=[1, 2], combine=combine)
    learning = TrainableText(config)
    learning.choose("whole")
    batch = [*TEXTS, " ".join(TEXTS * 3)]
    expected = build_text_encoder(config).encode(batch)
    torch.testing.assert_close(learning.eval()(batch), expected, atol=1e-5, rtol=1e-4)
    learning(batch).square().sum().backward()
    lacking = [n for n, p in learning.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


def learns(module):
    return {n for n, p in module.model.named_parameters() if p.requires_grad}


def test_only_the_chosen_part_learns(models):
    here = encoder(models, "hubert-base", layers=[2])
    here.choose("top", top=1)
    assert learns(here) and all(n.startswith("encoder.layers.1.") for n in learns(here))
    here = encoder(models, "hubert-base", layers=[2])
    here.choose("whole")
    assert any("feature_extractor" in n for n in learns(here))
    assert not any(n.startswith("encoder.layers.2.") for n in learns(here))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layers", [[], [2]])
def test_whatever_may_learn_gets_a_gradient(models, name, layers):
    here = encoder(models, name, layers=layers)
    here.choose("whole")
    here(waves(9_000, 16_000)).square().sum().backward()
    lacking = [n for n, p in here.model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


def test_checkpointing_changes_memory_and_not_gradients(models):
    gradients = []
    for again in (False, True):
        config = SpeechConfig(model=str(models / "whisper"))
        config.pruning.method, config.pruning.keep_rate = "merge", 0.5
        here = TrainableSpeech(config, checkpointing=again)
        here.choose("whole")
        from models.encoders.pruning import TokenPruner

        here.train()(waves(16_000, 9_600), TokenPruner(config.pruning, 3)).square().sum().backward()
        gradients.append(here.model.layers[0].fc1.weight.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients, atol=0, rtol=0)


def test_rates_fall_from_the_last_layer_to_the_front_and_norms_are_not_decayed(models):
    here = encoder(models, "hubert-base")
    here.choose("whole")
    groups = layer_decay_groups(here, here.layers, lr=1.0, decay=0.5, weight_decay=0.1)
    rate = {id(p): g for g in groups for p in g["params"]}
    layers, front = here.layers, here.model.feature_projection.projection
    assert [rate[id(k.attention.q_proj.weight)]["lr"] for k in layers] == [0.25, 0.5, 1.0]
    assert rate[id(front.weight)]["lr"] == 0.125
    assert rate[id(front.weight)]["weight_decay"] == 0.1
    assert rate[id(front.bias)]["weight_decay"] == rate[id(layers[0].layer_norm.weight)][
        "weight_decay"] == 0  # fmt: skip
    assert len(rate) == sum(p.requires_grad for p in here.parameters())


def test_learning_rate_and_keep_rate_follow_their_cosines():
    about = FinetuneConfig(steps=100, warmup=0.1, prune_start=0.2, prune_end=0.6)
    assert rate_at(0, about) < rate_at(5, about) < rate_at(10, about) == 1
    assert rate_at(55, about) == pytest.approx(0.5) and rate_at(100, about) == pytest.approx(0)
    pruning = SpeechConfig().pruning
    assert pruner_at(99, pruning, 4, about) is None
    pruning.method, pruning.keep_rate = "merge", 0.5
    assert pruner_at(20, pruning, 4, about) is None
    assert pruner_at(40, pruning, 4, about).rates == {2: pytest.approx(0.75)}
    assert pruner_at(60, pruning, 4, about).rates == {2: 0.5}


def test_every_pass_draws_each_row_once_whatever_the_cut():
    train = np.array([3, 5, 8, 9])
    whole = drawn(train, 0, 12, seed=1)
    for k in range(3):
        assert sorted(whole[4 * k : 4 * k + 4]) == [3, 5, 8, 9]
    assert drawn(train, 3, 5, seed=1).tolist() == whole[3:8].tolist()
    assert drawn(train, 0, 12, seed=2).tolist() != whole.tolist()


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


def test_lora_without_peft_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    here = encoder(models, "whisper")
    with pytest.raises(EncoderUnavailable, match=r"pip install 'semi-emotion\[peft\]'"):
        here.choose("lora")


@pytest.mark.extras("peft")
@pytest.mark.parametrize("name", KINDS)
def test_lora_starts_at_the_model_and_ends_as_a_plain_one(models, name, tmp_path):
    batch = waves(9_000, 16_000)
    here = encoder(models, name)
    before = here.eval()(batch).detach()
    here.choose("lora", rank=2)
    assert learns(here) and all("lora_" in n for n in learns(here))
    torch.testing.assert_close(here.eval()(batch), before)
    with torch.no_grad():
        for n, p in here.model.named_parameters():
            if "lora_B" in n:
                p.add_(0.1)
    after = here(batch).detach()
    assert (after - before).abs().max() > 1e-3
    here.save(tmp_path)
    plain = build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    torch.testing.assert_close(plain.encode(batch), after, atol=1e-5, rtol=1e-4)


# --- several processes ---


def test_alone_a_gathered_tensor_is_the_tensor():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_with_grad(rows) is rows


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
