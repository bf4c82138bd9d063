"""emotion2vec: the numbers of FunASR's own code; its files, folders and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from drawn_checkpoints import draw, reference, sound
from tiny_speech import waves

from models.encoders import EncoderUnavailable, PruningConfig, SpeechConfig, build_speech_encoder
from models.encoders.emotion2vec import alibi, slopes
from models.encoders.fairseq import convert
from models.encoders.unpickle import CheckpointError

LAYERS = {"layers": [0, 1, 2, 3, 4, 5], "combine": "views", "pooling": "frames"}
AUDIO = "modality_encoders.AUDIO."


def known() -> tuple[dict, dict[str, torch.Tensor]]:
    found = reference("emotion2vec")
    return found["model_conf"], draw(found["shapes"])


def save(path, weights, model, task=None, **more):
    path.parent.mkdir(exist_ok=True)
    torch.save({"cfg": {"model": model, "task": task}, "model": weights, **more}, path)
    return path


def funasr_folder(folder, weights, conf):
    """A folder as FunASR publishes it: JSON is YAML, too."""
    folder.mkdir()
    torch.save({"model": {f"d2v_model.{n}": v for n, v in weights.items()}}, folder / "model.pt")
    (folder / "config.yaml").write_text(json.dumps({"model": "Emotion2vec", "model_conf": conf}))
    (folder / "configuration.json").write_text("{}")
    return folder


def built(path, **settings):
    return build_speech_encoder(SpeechConfig(model=str(path), **settings))


@pytest.mark.parametrize("name", ["emotion2vec", "emotion2vec_by_layer"])
def test_every_layer_is_that_of_funasrs_own_code(name, tmp_path):
    found = reference(name)
    path = save(tmp_path / "a.pt", draw(found["shapes"]), found["model_conf"])
    loaded = built(path, **LAYERS)
    assert loaded.model.model_type == "emotion2vec" and loaded.model.normalize
    (frames,) = loaded.encode_frames([sound()])
    assert len(frames) == found["frames"]
    torch.testing.assert_close(frames.mean(0), torch.tensor(found["layers"]), atol=1e-5, rtol=1e-5)
    spread = frames.std(0, correction=0)
    torch.testing.assert_close(spread, torch.tensor(found["deviations"]), atol=1e-5, rtol=1e-5)


def test_a_row_alone_equals_the_row_in_any_padded_batch(tmp_path):
    conf, weights = known()
    settings = {**LAYERS, "pooling": "mean_std"}
    path = save(tmp_path / "a.pt", weights, conf)
    batch = waves(5_000, 16_000, 399, 9_123, 401)
    alone = torch.cat([built(path, **settings).encode([wave]) for wave in batch])
    for layout in ("rows", "padded", "packed"):
        together = built(path, **settings, layout=layout).encode(batch)
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert alone.std(0).min() > 0


def test_half_precision_is_near(tmp_path):
    conf, weights = known()
    path = save(tmp_path / "a.pt", weights, conf)
    config = SpeechConfig(model=str(path))
    exact = build_speech_encoder(config).encode(waves(16_000, 9_000))
    near = build_speech_encoder(config, precision="bf16").encode(waves(16_000, 9_000))
    assert torch.cosine_similarity(exact, near).min() > 0.999


def test_funasrs_folder_and_the_files_of_fairseq_are_one_encoder(tmp_path):
    conf, weights = known()
    nested = {"_name": "x", "w2v_args": {"model": conf, "task": {"normalize": True}}}
    named = {f"d2v_model.{n}": v for n, v in weights.items()}
    heads = {"proj.weight": torch.zeros(2), AUDIO + "decoder.proj.weight": torch.zeros(2)}
    folder = funasr_folder(tmp_path / "plus", weights, conf)
    plain = {k: v for k, v in conf.items() if k != "normalize"}
    expected = built(folder).encode([sound()])
    for path in (
        folder / "model.pt",
        save(tmp_path / "a.pt", {**weights, **heads, "_ema": {"x": 1}}, plain, {"normalize": True}),
        save(tmp_path / "b.pt", {**named, "proj.bias": torch.zeros(2)}, nested),
    ):
        assert torch.equal(built(path).encode([sound()]), expected)
    quiet = save(tmp_path / "c.pt", weights, plain, {"normalize": False})
    assert not built(quiet).model.normalize
    assert not torch.equal(built(quiet).encode([sound()]), expected)


def test_the_folders_settings_are_part_of_its_identity(tmp_path):
    conf, weights = known()
    one = built(funasr_folder(tmp_path / "a", weights, conf)).identity()
    assert built(tmp_path / "a" / "model.pt").identity() == one
    assert built(funasr_folder(tmp_path / "b", weights, conf)).identity() == one
    (tmp_path / "b" / "config.yaml").write_text(
        json.dumps({"model_conf": {**conf, "normalize": False}})
    )
    assert built(tmp_path / "b").identity() != one


def test_a_file_without_settings_has_the_published_ones(tmp_path):
    """Heads of 64 features and strides that follow from the kernels, as in every release."""
    kernels = (10, 3, 3, 3, 3, 2, 2)
    theirs = {
        **{f"{AUDIO}local_encoder.conv_layers.{k}.0.weight": [8, 8 if k else 1, kernel]
           for k, kernel in enumerate(kernels)},
        **{f"{AUDIO}local_encoder.conv_layers.{k}.2.1.{w}": [8]
           for k in range(7) for w in ("weight", "bias")},
        **{f"{AUDIO}project_features.1.{w}": [8] for w in ("weight", "bias")},
        AUDIO + "project_features.2.weight": [128, 8], AUDIO + "project_features.2.bias": [128],
        **{f"{AUDIO}relative_positional_encoder.{k}.0.weight": [128, 8, 19] for k in range(1, 6)},
        **{f"{AUDIO}relative_positional_encoder.{k}.0.bias": [128] for k in range(1, 6)},
        **{f"{AUDIO}context_encoder.norm.{w}": [128] for w in ("weight", "bias")},
        AUDIO + "extra_tokens": [1, 10, 128], AUDIO + "alibi_scale": [1, 2, 1, 1],
    }  # fmt: skip
    for block in (AUDIO + "context_encoder.blocks.0", "blocks.0"):
        for part, shape in (("attn.qkv", [384, 128]), ("attn.proj", [128, 128]),
                            ("mlp.fc1", [16, 128]), ("mlp.fc2", [128, 16])):  # fmt: skip
            theirs |= {f"{block}.{part}.weight": shape, f"{block}.{part}.bias": shape[:1]}
        theirs |= {
            f"{block}.{n}.{w}": [128] for n in ("norm1", "norm2") for w in ("weight", "bias")
        }
    weights = draw(theirs)
    weights = {n: v.view(1, 1, 2, 1, 1)[0] if "scale" in n else v for n, v in weights.items()}
    torch.save({"model": {"d2v_model." + n: v for n, v in weights.items()}}, tmp_path / "a.pt")
    loaded = built(tmp_path / "a.pt")
    assert loaded.model.normalize and loaded.backbone.config.num_attention_heads == 2
    spec = "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2"
    audio = {"feature_encoder_spec": spec, "num_extra_tokens": 10}
    said = save(tmp_path / "b.pt", weights, {"modalities": {"audio": audio}, "num_heads": 2})
    assert torch.equal(loaded.encode([sound()]), built(said).encode([sound()]))


def test_alibi_is_minus_the_distance_times_a_geometric_slope():
    assert slopes(8) == [2.0**-k for k in range(1, 9)]
    woven = [0.7071067811865476, 0.3535533905932738]  # between those of a power of two
    assert slopes(12)[8:10] == pytest.approx(woven)
    bias = alibi(4, 2, torch.device("cpu"))
    for i in range(4):
        for j in range(4):
            assert bias[0, i, j] == -abs(i - j) / 16 and bias[1, i, j] == -abs(i - j) / 256


def test_what_does_not_fit_is_told(tmp_path):
    conf, weights = known()
    audio = conf["modalities"]["audio"]

    def changed(**settings):
        return {**conf, **settings}

    def without(name):
        return {n: v for n, v in weights.items() if n != name}

    for number, (table, model, told) in enumerate((
        (weights, changed(layer_norm_first=True), "layer_norm_first must be False to be read"),
        (weights, changed(modalities={"audio": {**audio, "use_alibi_encoder": False}}),
         "use_alibi_encoder must be True"),
        (weights, changed(num_heads=4), "num_alibi_heads must be its 4 heads, got 3"),
        (weights, changed(modalities={"audio": {**audio, "feature_encoder_spec": "[(4,10,5)]"}}),
         "its weights do not fit its settings"),
        (without("blocks.1.mlp.fc2.bias"), conf, r"missing encoder\.layers\.3\.feed_forward"),
        ({**weights, "blocks.1.more": torch.zeros(1)}, conf, "unexpected encoder.layers.3.more"),
        (without(AUDIO + "extra_tokens"), conf, "it has no extra_tokens"),
        ({**weights, "blocks.0.norm1.bias": torch.full((12,), torch.nan)}, conf,
         "1 of its .* weights hold NaN"),
    )):  # fmt: skip
        with pytest.raises(CheckpointError, match=told):
            built(save(tmp_path / f"{number}.pt", table, model))
    path = save(tmp_path / "good.pt", weights, conf)
    with pytest.raises(ValueError, match=r"'emotion2vec' cannot be pruned: .* bias by distance"):
        built(path, pruning=PruningConfig(method="topk", keep_rate=0.5))
    with pytest.raises(CheckpointError, match=r"for which Hugging Face has no class; it needs no"):
        convert(path, tmp_path / "out")


def test_finetune_says_that_it_cannot_adapt_one(tmp_path):
    from models.encoders.trainable import TrainableSpeech

    conf, weights = known()
    path = save(tmp_path / "a.pt", weights, conf)
    with pytest.raises(ValueError, match=r"finetune cannot adapt.*set finetune\.speech=none"):
        TrainableSpeech(SpeechConfig(model=str(path)))


@pytest.mark.parametrize(
    ("text", "told"), [
        ("{", "is not YAML"), ("- 1", "has no model_conf"),
        ("version https://git-lfs.github.com/spec/v1\n", "beside it is a Git LFS pointer"),
    ],
)  # fmt: skip
def test_a_folder_whose_settings_are_damaged(text, told, tmp_path):
    conf, weights = known()
    folder = funasr_folder(tmp_path / "a", weights, conf)
    (folder / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=told):
        built(folder)


def test_a_name_on_the_hub_is_fetched_as_funasr_publishes_it(tmp_path, monkeypatch):
    import huggingface_hub

    conf, weights = known()
    folder = funasr_folder(tmp_path / "0123abc", weights, conf)
    asked = []

    def snapshot(model, *, allow_patterns, **_):
        asked.append((model, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    loaded = built("emotion2vec/emotion2vec_plus_base")
    assert loaded.identity()["revision"] == "0123abc"
    assert torch.equal(loaded.encode([sound()]), built(folder).encode([sound()]))
    assert {"model.pt", "config.yaml"} <= set(asked[0][1])
    (folder / "model.pt").unlink()
    with pytest.raises(EncoderUnavailable, match=r"has no model\.pt"):
        built("emotion2vec/emotion2vec_plus_base")
