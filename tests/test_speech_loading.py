"""Speech encoders: found, loaded whole or refused with a sentence, known by their content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_speech import encoder, tiny, waves

from models.encoders import EncoderUnavailable, PruningConfig, SpeechConfig, build_speech_encoder


def test_wavlm_refuses_pruning_with_its_reason():
    with pytest.raises(ValueError, match="relative position"):
        encoder(tiny("wavlm-base"), pruning=PruningConfig(method="topk", keep_rate=0.5))


def test_identity_holds_what_changes_the_numbers_and_not_the_layout():
    model = tiny("hubert-base")
    first = encoder(model).identity()
    assert encoder(model, layout="padded", batch_seconds=9.0).identity() == first
    assert encoder(model, layers=[-1]).identity() == first  # the same layer by another name
    for change in ({"layers": [1]}, {"pooling": "mean_std"}, {"chunk_seconds": 5.0}):
        assert encoder(model, **change).identity() != first
    assert encoder(model, precision="bf16").identity() != first
    import json

    assert json.loads(json.dumps(first)) == first


def test_the_identity_of_pruning_is_what_it_does_and_not_how_it_is_written():
    model = tiny("hubert-base")

    def pruning(layers=(), **settings):
        pruned = PruningConfig("topk", 0.5, **settings)
        return encoder(model, layers=list(layers), pruning=pruned).identity()["pruning"]

    told = pruning()
    assert told == {"method": "topk", "keep_rates": {"1": 0.5}, "k_min": 16, "score": "received"}
    # 1 is half of 3 layers: named or left open, it is the same place, and no other is
    assert pruning(layer=1) == told != pruning(layer=2)
    assert pruning(min_keep_rate=0.2, proportional_attention=False) == told  # not read by this
    for change in ({"k_min": 8}, {"score": "value_received"}, {"schedule": "constant"}):
        assert pruning(**change) != told
    steps = {"schedule": "linear", "min_keep_rate": 0.3, "layer": 0}
    assert pruning(**steps) == pruning(**steps, last_layer=2) != pruning(**steps, last_layer=1)
    # stopping earlier, half of the layers that run; a later one would drop nothing and say nothing
    assert pruning([2])["keep_rates"] == {"1": 0.5} and pruning([1])["keep_rates"] == {"0": 0.5}
    with pytest.raises(ValueError, match="layer must be below the number of layers that run, 1"):
        pruning([1], layer=1)
    assert encoder(model).identity()["pruning"] is None


def test_a_saved_folder_is_loaded_and_known_by_its_content(tmp_path):
    model = tiny("hubert-large")
    model.save_pretrained(tmp_path / "a")
    loaded = build_speech_encoder(SpeechConfig(model=str(tmp_path / "a")))
    batch = waves(4_000)
    assert "backbone" not in vars(loaded)  # nothing is read until it is needed
    torch.testing.assert_close(loaded.encode(batch), encoder(model).encode(batch))
    model = tiny("hubert-large")
    model.save_pretrained(tmp_path / "b")
    again = build_speech_encoder(SpeechConfig(model=str(tmp_path / "b")))
    assert again.identity() == loaded.identity()
    with torch.no_grad():
        model.encoder.layers[0].attention.q_proj.weight.add_(1)
    model.save_pretrained(tmp_path / "b")
    again = build_speech_encoder(SpeechConfig(model=str(tmp_path / "b")))
    assert again.identity() != loaded.identity()


def test_a_folder_without_all_weights_is_an_error_not_random_numbers(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny("hubert-base").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    broken = build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    with pytest.raises(EncoderUnavailable, match=r"does not hold 1 of the encoder's weights"):
        broken.encode(waves(4_000))


def test_layers_that_the_config_does_not_count_are_an_error_not_left_out(tmp_path):
    import json

    from transformers import HubertForCTC

    model = tiny("hubert-base")
    model.save_pretrained(tmp_path / "a")
    HubertForCTC(model.config).save_pretrained(tmp_path / "b")  # names begin with hubert.
    for name in ("a", "b"):
        about = json.loads((tmp_path / name / "config.json").read_text())
        assert (
            build_speech_encoder(SpeechConfig(model=str(tmp_path / name)))
            .encode(waves(4_000))
            .any()
        )
        short = json.dumps({**about, "num_hidden_layers": 2})
        (tmp_path / name / "config.json").write_text(short)
        encoder_of_less = build_speech_encoder(SpeechConfig(model=str(tmp_path / name)))
        with pytest.raises(
            EncoderUnavailable, match=r"weights of layers that its config\.json does"
        ):
            encoder_of_less.encode(waves(4_000))


def test_whisper_loads_from_a_whole_model_too(tmp_path):
    from transformers import WhisperConfig, WhisperModel

    size = {"d_model": 24, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 60}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1)
    config = WhisperConfig(**size, **heads, **tokens, decoder_start_token_id=2)
    whole = WhisperModel(config).eval()
    whole.save_pretrained(tmp_path)
    loaded = build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    batch = waves(4_000)
    torch.testing.assert_close(loaded.encode(batch), encoder(whole.encoder).encode(batch))


def test_errors_are_sentences_that_name_the_remedy(tmp_path, monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(
        EncoderUnavailable,
        match=r"the weights of someone/model cannot be had .*Name or service not known.*"
        r"encoders.speech.model=/path/to/folder",
    ):
        build_speech_encoder(SpeechConfig(model="someone/model"))
    with pytest.raises(EncoderUnavailable, match="is not a folder"):
        build_speech_encoder(SpeechConfig(model="/no/such/folder"))
    with pytest.raises(EncoderUnavailable, match=r"has no config\.json"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderUnavailable, match="has no weights"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(EncoderUnavailable, match="'bert', which is not a speech encoder"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path)))
    with pytest.raises(EncoderUnavailable, match="is not a file"):
        build_speech_encoder(SpeechConfig(model="hubert_base_ls960.pt"))
    with pytest.raises(ValueError, match=r"layers must be in 0 \.\.\. 3 .* got 4"):
        encoder(tiny("hubert-base"), layers=[4])
    with pytest.raises(ValueError, match="row 1: the samples contain NaN"):
        encoder(tiny("hubert-base")).encode([np.ones(800), np.full(800, np.nan)])
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, fp16"):
        build_speech_encoder(SpeechConfig(), precision="int4")
    with pytest.raises(ValueError, match="pooling must be one of mean, mean_std, frames"):
        SpeechConfig(pooling="max")


def test_none_means_no_encoder():
    assert build_speech_encoder(SpeechConfig(model="none")) is None
