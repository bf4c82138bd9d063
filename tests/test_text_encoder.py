"""Text encoders: a text's vector is its own and the mean of its tokens; one needs no weights."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoders import EncoderUnavailable, TextConfig, build_text_encoder
from models.encoders.murmur import murmur3

SHARED = Path(__file__).resolve().parents[2] / "shared"
MINILM = SHARED / "models" / "all-MiniLM-L6-v2"

TEXTS = [
    "no",
    "I am so glad that you came",
    "what ? what ? what ?",
    "the cat sat on the mat and the dog did not like the cat at all",
    "glad",
    "I did not say that",
    "mat",
    "you did not like the mat",
]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 60,
    "pad_token_id": 1,
}
KINDS = {  # of architecture, as transformers begins the names of their classes
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "electra": "Electra",
    "distilbert": "DistilBert",
    "mpnet": "MPNet",
    "modernbert": "ModernBert",
    "t5": "T5",
    "xlnet": "XLNet",
    "qwen2": "Qwen2",
}
OTHER_NAMES: dict[str, dict] = {  # what they call, or want, beside SMALL
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "modernbert": {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
    "t5": {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 24, "d_kv": 8},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
    "qwen2": {"num_key_value_heads": 1},
}


def folder(kind: str, path: Path) -> Path:
    """A random model of the named architecture with a word tokenizer, as a local folder."""
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = sorted({word for text in TEXTS for word in text.split()})
    vocabulary = {w: i for i, w in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    t.PreTrainedTokenizerFast(tokenizer_object=raw, **named).save_pretrained(path)
    reach = {} if kind == "xlnet" else {"max_position_embeddings": 24}  # which has no limit
    small = reach | SMALL | OTHER_NAMES.get(kind, {})
    config, model = (getattr(t, KINDS[kind] + part) for part in ("Config", "Model"))
    torch.manual_seed(0)
    model(config(**small)).save_pretrained(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_alone_equals_the_text_in_any_batch(kind, tmp_path):
    settings = {"layers": [0, 1, 2], "combine": "views", "pooling": "mean_std"}
    encoder = build_text_encoder(TextConfig(model=str(folder(kind, tmp_path)), **settings))
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert alone.shape == (8, *encoder.shape) == (8, 3, 32)
    assert alone.std(0).max() > 0
    torch.testing.assert_close(encoder.encode(TEXTS), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode(TEXTS[::-1]).flip(0), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_vector_is_the_mean_of_transformers_tokens(kind, tmp_path):
    import transformers as t

    path = folder(kind, tmp_path)
    model = t.AutoModel.from_pretrained(path).eval()
    tokens = t.AutoTokenizer.from_pretrained(path)(TEXTS[3], return_tensors="pt")
    with torch.no_grad():
        theirs = model(**tokens, output_hidden_states=True)
    for layer, states in ((-1, theirs.last_hidden_state), (1, theirs.hidden_states[1])):
        ours = build_text_encoder(TextConfig(model=str(path), layers=[layer])).encode(TEXTS[2:5])
        torch.testing.assert_close(ours[1], states[0].mean(0), atol=1e-5, rtol=1e-5)
    frames = build_text_encoder(TextConfig(model=str(path), pooling="frames"))
    found = frames.encode_frames(TEXTS)[3]
    torch.testing.assert_close(found, theirs.last_hidden_state[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_long_texts_are_cut_at_max_tokens_and_at_the_models_reach(kind, tmp_path):
    path = folder(kind, tmp_path)
    short = build_text_encoder(TextConfig(model=str(path), max_tokens=6))
    long = "the cat sat on the mat and the dog"
    assert torch.equal(short.encode([long]), short.encode(["the cat sat on"]))
    reaching = build_text_encoder(TextConfig(model=str(path)))
    assert reaching.longest == {"bert": 24, "roberta": 22}[kind]
    assert torch.isfinite(reaching.encode(["mat " * 1_000])).all()


def test_the_prefix_stands_before_every_text(tmp_path):
    path = str(folder("bert", tmp_path))
    plain = build_text_encoder(TextConfig(model=path))
    prefixed = build_text_encoder(TextConfig(model=path, prefix="you "))
    assert torch.equal(prefixed.encode(["did not"]), plain.encode(["you did not"]))
    assert prefixed.identity() != plain.identity()


@pytest.mark.skipif(not MINILM.is_dir(), reason="no pretrained MiniLM in ../shared")
def test_minilm_gives_the_reference_features_of_real_sentences():
    reference = np.load(SHARED / "features" / "emodb_goemotions.npz")
    table = SHARED / "data" / "emodb_goemotions" / "manifest.csv"
    with open(table, encoding="utf-8", newline="") as file:
        texts = {row["id"]: row["text"] for row in csv.DictReader(file)}
    ids, expected = reference["id"][:12], reference["text"][:12].astype(np.float32)
    encoder = build_text_encoder(TextConfig(model=str(MINILM)))
    ours = encoder.encode([texts[name] for name in ids])
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=2e-3, rtol=0)


def test_errors_are_sentences_that_name_the_remedy(tmp_path, monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    remedy = r"cannot be had .*encoders.text.model=/path/to/folder"
    with pytest.raises(EncoderUnavailable, match=remedy):
        build_text_encoder(TextConfig(model="someone/model"))
    with pytest.raises(ValueError, match="max_tokens must be 3 or more, got 1"):
        TextConfig(max_tokens=1)
    with pytest.raises(ValueError, match=r"layers must be in 0 \.\.\. 2 .* got -4"):
        build_text_encoder(TextConfig(model=str(folder("bert", tmp_path)), layers=[-4]))
    assert build_text_encoder(TextConfig(model="none")) is None


def test_char_ngrams_are_rows_of_length_one_that_know_likeness():
    encoder = build_text_encoder(TextConfig())
    rows = encoder.encode(["I am so happy!", "so happy, I am", "그는 화가 났다", "他很生气"])
    assert rows.shape == (4, *encoder.shape) and rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))
    likeness = rows @ rows.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]
    alone = torch.cat([encoder.encode([text]) for text in ("I am so happy!", "他很生气")])
    assert torch.equal(alone, rows[[0, 3]])


def test_char_ngrams_see_through_case_width_and_spacing():
    encoder = build_text_encoder(TextConfig())
    rows = encoder.encode(["Straße  Ａ１ ﬁn", "STRASSE a1\nfin"])
    assert torch.equal(rows[0], rows[1])
    assert encoder.encode([]).shape == (0, 512)
    assert not encoder.encode(["   "]).any()  # nothing in it: zeros, not NaN


def test_char_ngrams_equal_a_slow_transcription():
    from sklearn.utils import murmurhash3_32

    encoder = build_text_encoder(TextConfig())
    grams = ["w:aha", *" aha ", " a", "ah", "ha", "a ", " ah", "aha", "ha ", " aha", "aha "]
    counts = {gram: grams.count(gram) for gram in grams if gram != " "}
    expected = np.zeros(512)
    for gram, count in counts.items():
        value = murmurhash3_32(gram, seed=0)
        expected[abs(value) % 512] += np.sign(value) * (1 + np.log(count))
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(encoder.encode(["Aha"])[0].numpy(), expected, atol=1e-6)


def test_murmur_hashes_are_scikit_learns():
    from sklearn.utils import murmurhash3_32

    draw = np.random.default_rng(0)
    keys = [draw.bytes(length) for length in [*range(40)] * 5] + [
        b"a" * 5001,
        bytes(7),
        b"\xff" * 4,
    ]
    assert murmur3(keys).tolist() == [murmurhash3_32(key, seed=0) for key in keys]
    assert murmur3([]).shape == (0,)


def test_char_ngrams_do_not_depend_on_the_process():
    code = (
        "import json; from models.encoders import TextConfig, build_text_encoder as b;"
        "print(json.dumps(b(TextConfig()).encode(['once more']).tolist()))"
    )
    root = Path(__file__).resolve().parents[1]
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, cwd=root, capture_output=True, text=True, check=True).stdout
    here = build_text_encoder(TextConfig()).encode(["once more"])
    assert torch.equal(torch.tensor(json.loads(out)), here)
