"""w2v-BERT 2.0: the numbers of transformers on real speech; random weights, so equality alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_speech import encoder, speech, tiny, waves
from transformers import SeamlessM4TFeatureExtractor

from models.encoders import EncoderUnavailable, PruningConfig, SpeechConfig, build_speech_encoder
from models.encoders.w2v_bert import W2vBertBackbone

LAYERS = {"layers": [0, 1, 2, 3], "combine": "views", "pooling": "frames"}


def extractor(**settings) -> SeamlessM4TFeatureExtractor:
    return SeamlessM4TFeatureExtractor(
        feature_size=16, num_mel_bins=16, padding_value=1, **settings
    )


def expected(model, inputs) -> torch.Tensor:
    """Every layer of transformers' own pass, (N, L, D), the valid tokens alone."""
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
    states = [*out.hidden_states[:-1], out.last_hidden_state]
    return torch.stack(states, 2)[0, inputs["attention_mask"][0].bool()]


@pytest.mark.parametrize("position", ["w2v-bert", "w2v-bert-relative", "w2v-bert-rotary"])
def test_a_saved_folder_gives_the_layers_of_transformers_on_real_speech(position, tmp_path):
    model = tiny(position)
    model.save_pretrained(tmp_path)
    extractor().save_pretrained(tmp_path)
    loaded = build_speech_encoder(SpeechConfig(model=str(tmp_path), **LAYERS))
    whole = speech(2)
    for wave in (*whole, whole[0][:16_000], whole[0][:16_160], 0.01 * whole[1]):
        inputs = extractor()(wave, sampling_rate=16_000, return_tensors="pt")
        (frames,) = loaded.encode_frames([wave])
        torch.testing.assert_close(frames, expected(model, inputs), atol=1e-4, rtol=1e-4)


def test_the_spectrum_is_that_of_transformers_extractor():
    (wave,) = speech(1)
    backbone = W2vBertBackbone(tiny("w2v-bert"))
    ours = backbone.prepare(torch.from_numpy(wave)).T
    theirs = extractor()(wave, sampling_rate=16_000, return_tensors="pt")
    theirs = theirs.input_features[0, theirs.attention_mask[0].bool()]
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_silence_and_the_shortest_sounds_have_finite_numbers():
    batch = [np.zeros(800, np.float32), np.zeros(10, np.float32), *waves(559, 560, 561)]
    rows = encoder(tiny("w2v-bert")).encode(batch)
    assert torch.isfinite(rows).all()


def test_packing_is_left_aside_since_convolutions_cross_rows():
    assert not W2vBertBackbone.packable
    model, batch = tiny("w2v-bert"), waves(9_000, 4_000)
    plain = encoder(model).encode(batch)
    torch.testing.assert_close(
        encoder(model, layout="packed").encode(batch), plain, atol=1e-5, rtol=0
    )


def test_what_is_not_computed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="convolve over neighbours and attend by relative"):
        encoder(tiny("w2v-bert"), pruning=PruningConfig(method="topk", keep_rate=0.5))
    model = tiny("w2v-bert")
    model.save_pretrained(tmp_path / "a")
    extractor(stride=1).save_pretrained(tmp_path / "a")
    with pytest.raises(EncoderUnavailable, match=r"sets stride to 1 in preprocessor_config\.json"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path / "a")))
    SeamlessM4TFeatureExtractor().save_pretrained(tmp_path / "a")
    with pytest.raises(EncoderUnavailable, match=r"sets feature_size to 80 .* only 16 is known"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path / "a")))
    model.config.add_adapter = True
    model.save_pretrained(tmp_path / "b")
    with pytest.raises(EncoderUnavailable, match=r"\(add_adapter in config\.json\)"):
        build_speech_encoder(SpeechConfig(model=str(tmp_path / "b")))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_it_learns_and_gives_the_frozen_encoders_vectors(checkpointing, tmp_path):
    from models.encoders.trainable import TrainableSpeech

    model = tiny("w2v-bert")
    model.save_pretrained(tmp_path / "a")
    extractor().save_pretrained(tmp_path / "a")
    config = SpeechConfig(model=str(tmp_path / "a"))
    trainable = TrainableSpeech(config, checkpointing=checkpointing)
    trainable.choose("top", top=1)
    batch = waves(9_000, 5_000)
    rows = trainable.eval().vectors(batch)
    torch.testing.assert_close(rows, build_speech_encoder(config).encode(batch), atol=1e-5, rtol=0)
    trainable.vectors(batch).square().sum().backward()
    gradients = [p.grad for p in trainable.layers[-1].parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    trainable.save(tmp_path / "b")
    again = build_speech_encoder(SpeechConfig(model=str(tmp_path / "b")))
    torch.testing.assert_close(again.encode(batch), rows.detach(), atol=1e-5, rtol=0)
