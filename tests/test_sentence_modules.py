"""Text folders: their own settings are honoured, or said. Random weights, so equality alone."""

from __future__ import annotations

import json

import pytest
import torch
from test_text_encoder import TEXTS, folder

from models.encoders import EncoderUnavailable, TextConfig, build_text_encoder
from semi.cli import main
from semi.features.notes import encoder_notes


def written(path, name, content):
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text(json.dumps(content))


def sentence_folder(path, pooling=None, *, more=(), **files):
    """A model folder with the files that sentence-transformers writes beside it."""
    folder("bert", path)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *more]
    steps = [
        {"idx": i, "name": str(i), "path": where, "type": f"sentence_transformers.models.{kind}"}
        for i, (where, kind) in enumerate(kinds)
    ]
    written(path, "modules.json", steps)
    written(path, "1_Pooling/config.json", pooling or {"pooling_mode_mean_tokens": True})
    for name, content in files.items():
        written(path, f"{name}.json", content)
    return build_text_encoder(TextConfig(model=str(path)))


@pytest.mark.parametrize(
    "files",
    [{"sentence_bert_config": {"max_seq_length": 6}}, {"tokenizer_config": "model_max_length"}],
)
def test_a_text_is_cut_where_the_folder_cuts_it(files, tmp_path):
    if files == {"tokenizer_config": "model_max_length"}:
        sentence_folder(tmp_path)
        about = json.loads((tmp_path / "tokenizer_config.json").read_text())
        written(tmp_path, "tokenizer_config.json", {**about, "model_max_length": 6})
        encoder = build_text_encoder(TextConfig(model=str(tmp_path)))
    else:
        encoder = sentence_folder(tmp_path, **files)
    long = TEXTS[3]
    assert len(long.split()) > 6
    rows = encoder.encode([long, " ".join(long.split()[:4])])  # with [CLS] and [SEP]: six
    torch.testing.assert_close(rows[0], rows[1], atol=1e-6, rtol=0)
    assert encoder.identity()["max_tokens"] == 6
    shorter = build_text_encoder(TextConfig(model=str(tmp_path), max_tokens=5))
    assert shorter.identity()["max_tokens"] == 5


def test_a_length_beyond_the_setting_changes_no_key(tmp_path):
    plain = folder("bert", tmp_path / "a")
    assert build_text_encoder(TextConfig(model=str(plain))).identity()["max_tokens"] == 256
    encoder = sentence_folder(tmp_path / "b", sentence_bert_config={"max_seq_length": 512})
    assert encoder.identity()["max_tokens"] == 256


@pytest.mark.parametrize(
    ("pooling", "told"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_another_pooling_is_said(pooling, told, tmp_path):
    encoder = sentence_folder(tmp_path, pooling)
    assert encoder_notes({"text": encoder}) == [
        f"encoders.text.model={tmp_path} pools its tokens by '{told}' in sentence-transformers; "
        f"here encoders.text.pooling=mean is used"
        + ("; encoders.text.pooling=cls does as they do" if told == "cls" else "")
    ]
    as_they_do = build_text_encoder(TextConfig(model=str(tmp_path), pooling="cls"))
    assert bool(as_they_do.notes) == (told != "cls")


@pytest.mark.parametrize("combine", ["concat", "views"])
def test_cls_is_the_first_token_of_transformers_in_any_batch(combine, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    from models.encoders.trainable import TrainableText

    folder("bert", tmp_path)
    config = TextConfig(model=str(tmp_path), pooling="cls", layers=[1, 2], combine=combine)
    encoder = build_text_encoder(config)
    rows = encoder.encode(TEXTS)
    assert rows.shape == (len(TEXTS), *encoder.shape)
    model, tokenizer = (kind.from_pretrained(tmp_path) for kind in (AutoModel, AutoTokenizer))
    for row, text in zip(rows, TEXTS, strict=True):
        with torch.no_grad():
            out = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        expected = torch.stack([out.hidden_states[k][0, 0] for k in (1, 2)])
        torch.testing.assert_close(row, expected.view_as(row), atol=1e-5, rtol=0)
    if combine == "concat":
        learned = TrainableText(config).eval().vectors(TEXTS)
        torch.testing.assert_close(learned, rows, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"pooling=cls is of models with a \[CLS\] token"):
        TextConfig(pooling="cls")


def test_further_steps_and_prompts_are_said_and_a_mere_length_is_not(tmp_path):
    encoder = sentence_folder(
        tmp_path,
        {"pooling_mode": "mean"},
        more=[("2_Dense", "Dense"), ("3_Normalize", "Normalize")],
        config_sentence_transformers={
            "prompts": {"query": "query: ", "passage": "passage: "},
            "default_prompt_name": "query",
        },
    )
    dense, prompt = encoder.notes
    assert "has a further step in sentence-transformers, 'Dense', which is not applied" in dense
    assert "has 'query: ' put before each text" in prompt
    with_prefix = build_text_encoder(TextConfig(model=str(tmp_path), prefix="query: "))
    assert with_prefix.notes == [dense]


def test_a_plain_folder_has_nothing_to_say(tmp_path):
    assert build_text_encoder(TextConfig(model=str(folder("bert", tmp_path)))).notes == []


def test_a_damaged_list_of_modules_is_named(tmp_path):
    with pytest.raises(EncoderUnavailable, match=r"its modules\.json holds a dict, not a list"):
        sentence_folder(tmp_path, modules={})


def test_check_prints_what_differs(small_corpus, tmp_path, capsys):
    sentence_folder(tmp_path / "m", {"pooling_mode": "cls"})
    words = [f"data.manifest={small_corpus / 'manifest.csv'}", "data.allow_leaks=[text]"]
    assert main(["check", *words, f"encoders.text.model={tmp_path / 'm'}"]) == 0
    assert "pools its tokens by 'cls' in sentence-transformers" in capsys.readouterr().out
