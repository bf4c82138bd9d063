"""precision=int8: linear layers on 8-bit integers, compared with float32 before any is stored."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_pretend_gpu_encoders import encoder
from test_text_encoder import TEXTS, folder
from tiny_speech import NAMES, tiny, waves
from torch import nn

from models.encoders import PruningConfig, TextConfig, build_speech_encoder, build_text_encoder
from models.encoders.config import SpeechConfig
from models.encoders.int8 import Int8Linear, quantised
from models.encoders.numerics import centred_cosine
from semi.config.schema import load_config
from semi.data.corpora import bundled_emodb
from semi.errors import ConfigError, EncoderError
from semi.evaluation.text import extraction_words
from semi.features.extract import extract
from semi.self_training.prepare import load_dataset

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
MINILM, WHISPER = SHARED / "all-MiniLM-L6-v2", SHARED / "whisper-base-encoder"


def linear(inputs=32, outputs=8):
    """Returns a random linear layer."""
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs)


def test_a_token_of_large_numbers_does_not_spoil_the_others():
    plain, x = linear(), torch.randn(2, 5, 32)
    want = plain(x)
    made = Int8Linear(plain)(x)
    assert made.shape == want.shape
    torch.testing.assert_close(made, want, atol=0.03, rtol=0)
    x[1, 4] *= 1e4
    loud = Int8Linear(plain)(x)
    assert torch.equal(loud.flatten(0, 1)[:-1], made.flatten(0, 1)[:-1])
    torch.testing.assert_close(loud[1, 4] / 1e4, want[1, 4], atol=0.5, rtol=0)


def test_an_output_of_large_weights_does_not_spoil_the_others():
    plain, x = linear(), torch.randn(5, 32)
    made = Int8Linear(plain)(x)
    with torch.no_grad():
        plain.weight[3] *= 1e4
    others = [0, 1, 2, 4, 5, 6, 7]
    assert torch.equal(Int8Linear(plain)(x)[:, others], made[:, others])


def test_it_is_the_sum_of_products_of_rounded_numbers():
    plain, x = linear(6, 3), torch.randn(4, 6)
    made = Int8Linear(plain)(x)
    weight = plain.weight.detach()
    for token in range(4):
        for output in range(3):
            a, b = x[token].abs().max() / 127, weight[output].abs().max() / 127
            total = sum(round(float(u / a)) * round(float(w / b))
                        for u, w in zip(x[token], weight[output], strict=True))  # fmt: skip
            want = total * a * b + plain.bias[output]
            torch.testing.assert_close(made[token, output], want.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_zeros_give_the_bias(bias):
    plain = nn.Linear(4, 3, bias=bias)
    want = plain.bias if bias else torch.zeros(3)
    assert torch.equal(Int8Linear(plain)(torch.zeros(2, 4)), want.expand(2, 3))
    nn.init.zeros_(plain.weight)
    assert torch.equal(Int8Linear(plain)(torch.randn(2, 4)), want.expand(2, 3))


def test_no_token_at_all_is_none_afterwards():
    assert Int8Linear(linear())(torch.zeros(0, 32)).shape == (0, 8)


def test_every_linear_layer_is_replaced_also_one_that_stands_twice():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), nn.ModuleDict({"in": nn.Sequential(shared)}))
    made = quantised(model)
    assert made is model
    assert not [m for m in made.modules() if isinstance(m, nn.Linear)]
    assert isinstance(made[0], Int8Linear) and isinstance(made[2]["in"][0], Int8Linear)


@pytest.mark.parametrize("name", NAMES)
def test_every_speech_encoder_is_near_float32(name):
    sounds, model = waves(9000, 16000, 5000, 12000, 7000), tiny(name)
    pruning = PruningConfig("merge", 0.5, layer=1, k_min=4) if name == "hubert-base" else None
    words = {"layers": [3]} | ({"pruning": pruning} if pruning else {})
    want = encoder(model, "cpu", **words).encode(sounds)
    made = encoder(model, "cpu", precision="int8", **words).encode(sounds)
    assert made.dtype == torch.float32 and not torch.equal(made, want)
    assert centred_cosine(made.numpy(), want.numpy()).min() > 0.99


def test_a_row_is_the_same_alone_and_among_others():
    """But for a number at the edge of two integers, which rounding may push over."""
    sounds = waves(9000, 16000, 5000)
    model = tiny("whisper")
    many = encoder(model, "cpu", precision="int8", layout="padded").encode(sounds)
    one = encoder(model, "cpu", precision="int8")
    alone = torch.cat([one.encode([sound]) for sound in sounds])
    torch.testing.assert_close(many, alone, atol=2e-3, rtol=0)


def test_the_store_keeps_it_apart(tmp_path):
    config = TextConfig(model=str(folder("bert", tmp_path)))
    keys = [build_text_encoder(config, precision=p).identity() for p in ("fp32", "int8")]
    assert keys[0] != keys[1] and keys[1]["precision"] == "int8"


def test_it_is_of_the_cpu_and_a_sentence_says_so(tmp_path):
    for build, config in (
        (build_text_encoder, TextConfig(model=str(tmp_path))),
        (build_speech_encoder, SpeechConfig(model=str(tmp_path))),
    ):
        with pytest.raises(ValueError, match="precision=int8 is of CPUs, but device is cuda:1"):
            build(config, device="cuda:1", precision="int8")
    with pytest.raises(ConfigError, match="device is cuda; set precision=bf16"):
        load_config(None, ["data.manifest=m.csv", "device=cuda", "precision=int8"])


def settings(tmp_path, texts, model, *more):
    """Returns settings of a table of texts and a text encoder."""
    table = pd.DataFrame({"id": range(len(texts)), "text": texts})
    table["label"] = np.array(["a", "b"])[np.arange(len(texts)) % 2]
    table["speaker"] = np.arange(len(texts)) % 4
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [f"data.manifest={tmp_path / 'm.csv'}", f"features.store={tmp_path / 'store'}"]
    words += [f"encoders.text.model={model}", "encoders.speech.model=none", *more]
    return load_config(None, words)


def rough(path):
    """Returns the folder of a model one of whose numbers drowns the others, as some do."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder("bert", path))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("LayerNorm.bias"):
                value[0] = 3000.0
            elif value.dim() == 2 and "embeddings" not in name:
                value[:, 0] = 0.0  # which no layer hears
                value *= 20
    model.save_pretrained(path)
    return path


def test_how_near_it_is_is_said_once(tmp_path):
    model = folder("t5", tmp_path / "model")
    config = settings(tmp_path, TEXTS, model, "precision=int8")
    said = extraction_words(extract(config, progress=False))[0]
    assert said.startswith("text: 8 encoded, 0 in the store already; int8: centred cosine to fp32 ")
    assert said.endswith(") on 8 of them") and float(said.split("fp32 ")[1][:7]) > 0.99
    again = extraction_words(extract(config, progress=False))[0]
    assert again == "text: 0 encoded, 8 in the store already"


@pytest.mark.parametrize("pooling", ["mean", "mean_std", "frames"])
@pytest.mark.parametrize("command", [extract, load_dataset], ids=["extract", "train"])
def test_too_rough_an_encoder_is_refused_before_it_stores_anything(command, pooling, tmp_path):
    model = rough(tmp_path / "model")
    words = [f"encoders.text.pooling={pooling}"]
    if pooling == "frames":
        words.append("model.kind=cross_attention")
    config = settings(tmp_path, TEXTS, model, "precision=int8", *words)
    with pytest.raises(EncoderError) as error:
        command(config, progress=False)
    assert str(error.value).startswith("precision=int8 is too rough for text: int8: centred cosine")
    remedy = "on 8 of them, where 0.99 is asked for; set precision=bf16 or fp32. Nothing was stored"
    assert str(error.value).endswith(remedy)
    assert not list((tmp_path / "store").rglob("store.json"))
    assert not list((tmp_path / "store").rglob("*.npz"))
    exact = settings(tmp_path, TEXTS, model, "precision=fp32", *words)
    assert extract(exact, progress=False).done == 8


def test_two_rows_cannot_be_compared(tmp_path):
    config = settings(tmp_path, TEXTS[:2], rough(tmp_path / "model"), "precision=int8")
    said = extraction_words(extract(config, progress=False))[0]
    assert said == "text: 2 encoded, 0 in the store already"


def test_sounds_that_cannot_be_read_are_left_to_extraction(tmp_path):
    tiny("whisper").save_pretrained(tmp_path / "model")
    table = pd.read_csv(bundled_emodb(), dtype=str).head(6)
    table["audio"] = [str(bundled_emodb().parent / name) for name in table["audio"]]
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    table.loc[0, "audio"] = str(tmp_path / "broken.wav")
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [f"data.manifest={tmp_path / 'm.csv'}", f"features.store={tmp_path / 'store'}"]
    words += [f"encoders.speech.model={tmp_path / 'model'}", "encoders.text.model=none"]
    done = extract(load_config(None, [*words, "precision=int8"]), progress=False)
    assert done.done == 5 and len(done.quarantine) == 1
    assert done.modalities["speech"].exactness.endswith("on 5 of them")


@pytest.mark.skipif(not MINILM.is_dir(), reason="needs shared/models/all-MiniLM-L6-v2")
def test_a_text_encoder_in_use_passes(tmp_path):
    texts = sorted(pd.read_csv(bundled_emodb(), dtype=str)["text"].unique())
    config = settings(tmp_path, texts, MINILM, "precision=int8")
    assert " int8: centred cosine to fp32 0.99" in extraction_words(extract(config))[0]


@pytest.mark.skipif(not WHISPER.is_dir(), reason="needs shared/models/whisper-base-encoder")
def test_a_speech_encoder_in_use_passes(tmp_path):
    table = pd.read_csv(bundled_emodb(), dtype=str).head(6)
    table["audio"] = [str(bundled_emodb().parent / name) for name in table["audio"]]
    table.to_csv(tmp_path / "m.csv", index=False)
    words = [f"data.manifest={tmp_path / 'm.csv'}", f"features.store={tmp_path / 'store'}"]
    words += [f"encoders.speech.model={WHISPER}", "encoders.text.model=none"]
    done = extract(load_config(None, [*words, "precision=int8"]), progress=False)
    assert done.modalities["speech"].exactness.startswith("int8: centred cosine to fp32 0.99")
