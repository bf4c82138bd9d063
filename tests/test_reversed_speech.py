"""Speech heard backwards: the encoder inside gets the waves turned, and says so in its identity."""

import numpy as np
import torch

from models.encoders import SpeechConfig, build_speech_encoder


def waves():
    rng = np.random.default_rng(0)
    t = np.arange(16_000) / 16_000
    return [
        (np.sin(2 * np.pi * (100 + 200 * t) * t) * t + 0.01 * rng.normal(size=len(t))).astype("f4"),
        rng.normal(0, 0.1, 12_000).astype("f4"),
    ]


def test_it_is_the_plain_encoder_of_the_turned_waves():
    plain = build_speech_encoder(SpeechConfig())
    turned = build_speech_encoder(SpeechConfig(reverse=True))
    said = turned.encode(waves())
    assert torch.equal(said, plain.encode([w[::-1].copy() for w in waves()]))
    assert not torch.allclose(said, plain.encode(waves()))
    assert turned.shape == plain.shape and turned.modality == "speech"


def test_its_identity_differs_and_that_of_others_is_what_it_was():
    plain = build_speech_encoder(SpeechConfig()).identity()
    turned = build_speech_encoder(SpeechConfig(reverse=True)).identity()
    assert turned == {**plain, "reverse": True}
    assert "reverse" not in plain  # stores filled before stay valid


def test_frames_come_in_the_order_heard():
    turned = build_speech_encoder(SpeechConfig(reverse=True, pooling="frames"))
    plain = build_speech_encoder(SpeechConfig(pooling="frames"))
    one = turned.encode_frames(waves()[:1])[0]
    assert torch.equal(one, plain.encode_frames([waves()[0][::-1].copy()])[0])
