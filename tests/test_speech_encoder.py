"""Speech encoders: a row is its own, layers are Hugging Face's, Whisper runs at true length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoders import (
    EncoderUnavailable,
    PruningConfig,
    SpeechConfig,
    build_speech_encoder,
)
from models.encoders.speech import SpeechEncoder
from models.encoders.speech_models import describe

SHARED = Path(__file__).resolve().parents[2] / "shared"
WHISPER = SHARED / "models" / "whisper-base-encoder"

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
NAMES = [
    "hubert-base",
    "hubert-large",
    "hubert-batch-norm",
    "wav2vec2-base",
    "wav2vec2-large",
    "wavlm-base",
    "wavlm-large",
    "data2vec-audio",
    "unispeech",
    "unispeech-sat",
    "mms-adapter",
    "whisper",
]


def tiny(name: str) -> torch.nn.Module:
    """A random transformers model of the named architecture."""
    import transformers as t

    torch.manual_seed(0)
    positions = {"num_conv_pos_embeddings": 16}
    if name == "whisper":
        config = t.WhisperConfig(
            d_model=24, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32
        )
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        model = WhisperEncoder(config)
    elif name == "data2vec-audio":
        config = t.Data2VecAudioConfig(**SMALL, num_conv_pos_embeddings=3, conv_pos_kernel_size=7)
        model = t.Data2VecAudioModel(config)
    elif name == "mms-adapter":
        model = t.Wav2Vec2Model(
            t.Wav2Vec2Config(**SMALL, **positions, **STABLE, adapter_attn_dim=8)
        )
    elif name == "hubert-batch-norm":
        model = t.HubertModel(t.HubertConfig(**SMALL, **positions, conv_pos_batch_norm=True))
    else:
        kind, _, size = name.partition("-") if name != "unispeech-sat" else (name, "", "")
        config, model = {
            "hubert": (t.HubertConfig, t.HubertModel),
            "wav2vec2": (t.Wav2Vec2Config, t.Wav2Vec2Model),
            "wavlm": (t.WavLMConfig, t.WavLMModel),
            "unispeech": (t.UniSpeechConfig, t.UniSpeechModel),
            "unispeech-sat": (t.UniSpeechSatConfig, t.UniSpeechSatModel),
        }[kind]
        model = model(config(**SMALL, **positions, **(STABLE if size == "large" else {})))
    with torch.no_grad():  # make every part count: norms and biases start as identities
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.normal_()
    return model.eval()


def encoder(model: torch.nn.Module, precision: str = "fp32", **settings) -> SpeechEncoder:
    """A SpeechEncoder round a transformers model that is in memory already."""
    about = describe(model.config, load=lambda: model, identity={"test": True})
    return SpeechEncoder(about, SpeechConfig(model="test", **settings), precision=precision)


def waves(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.1, n).astype(np.float32) for n in lengths]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny models lose more by sharing cores than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LENGTHS = (5_000, 16_000, 399, 9_123, 640, 12_345, 401, 16_001)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_equals_the_row_in_any_padded_batch(name):
    model = tiny(name)
    settings = {"layers": [0, 1, 2, 3], "combine": "views", "pooling": "mean_std"}
    alone = encoder(model, **settings)
    batch = waves(*LENGTHS)
    single = torch.cat([alone.encode([wave]) for wave in batch])
    together = encoder(model, **settings, layout="padded").encode(batch)
    small = encoder(model, **settings, layout="padded", batch_seconds=2.5).encode(batch[::-1])
    assert single.shape == (8, 4, 48)
    assert single.std(0).min() > 0
    torch.testing.assert_close(together, single, atol=1e-5, rtol=0)
    torch.testing.assert_close(small.flip(0), single, atol=1e-5, rtol=0)
    assert torch.equal(alone.encode(batch), single)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "whisper"])
def test_every_layer_is_that_of_transformers(name):
    model, (wave,) = tiny(name), waves(8_000)
    ours = encoder(model, layers=[0, 1, 2, 3], combine="views", pooling="frames")
    ours.model.normalize = False
    (frames,) = ours.encode_frames([wave])
    with torch.no_grad():
        theirs = model(torch.from_numpy(wave)[None], output_hidden_states=True)
    for layer in range(3):
        expected = theirs.hidden_states[layer][0]
        torch.testing.assert_close(frames[:, layer], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(frames[:, 3], theirs.last_hidden_state[0], atol=1e-5, rtol=1e-5)


def test_whisper_at_30_seconds_is_that_of_transformers():
    from transformers import WhisperFeatureExtractor

    model, (wave,) = tiny("whisper"), waves(480_000)
    wave[200_000:] *= 0.01
    ours = encoder(model, layers=[0, 1, 2, 3], combine="views", pooling="frames", chunk_seconds=30)
    (frames,) = ours.encode_frames([wave])
    mel = WhisperFeatureExtractor()(wave, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        theirs = model(mel.input_features, output_hidden_states=True)
    for layer in range(3):
        expected = theirs.hidden_states[layer][0, :-1]  # the reflected right end aside
        torch.testing.assert_close(frames[:-1, layer], expected, atol=1e-4, rtol=0)
    expected = theirs.last_hidden_state[0, :-1]
    torch.testing.assert_close(frames[:-1, 3], expected, atol=1e-4, rtol=0)


def test_log_mel_is_what_transformers_gives_the_clip_within_its_30_seconds():
    from transformers import WhisperFeatureExtractor

    from models.encoders.whisper import log_mel, slaney_filters

    extract = WhisperFeatureExtractor()
    filters = slaney_filters(80, 400, 16_000)
    np.testing.assert_allclose(filters, extract.mel_filters, atol=1e-8)
    for wave in waves(320, 321, 7_777, 16_000):
        wave[: len(wave) // 2] *= 1e-3  # so that the clamp acts, and the loudest part is the end
        ours = log_mel(torch.from_numpy(wave), torch.from_numpy(filters))
        theirs = extract(wave, sampling_rate=16_000, return_tensors="pt").input_features[0]
        torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=2e-5, rtol=0)
        assert ours.shape[1] == 2 * -(-len(wave) // 320)


@pytest.mark.skipif(not WHISPER.is_dir(), reason="no pretrained Whisper encoder in ../shared")
def test_whisper_gives_the_reference_features_of_real_speech():
    import soundfile

    reference = np.load(SHARED / "features" / "emodb.npz")
    ids, expected = reference["id"][:4], reference["speech"][:4].astype(np.float32)
    folder = SHARED / "data" / "emodb" / "audio"
    audio = [soundfile.read(folder / f"{name}.flac", dtype="float32")[0] for name in ids]
    settings = {"layers": list(range(7)), "combine": "views", "pooling": "mean_std"}
    ours = build_speech_encoder(SpeechConfig(model=str(WHISPER), **settings)).encode(audio).numpy()
    pairs = [(ours[:, k, :512], expected[:, k]) for k in range(6)]
    pairs += [(ours[:, 6, :512], expected[:, 7]), (ours[:, 6, 512:], expected[:, 8])]
    for a, b in pairs:
        a, b = a - b.mean(0), b - b.mean(0)  # centred: raw cosines of means are near 1 for anything
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > 0.999


def test_layers_beyond_the_last_asked_are_not_computed():
    model = tiny("hubert-base")
    model.encoder.layers[2].attention.q_proj.register_forward_hook(
        lambda *_: pytest.fail("layer 3 ran though only layers up to 2 were asked for")
    )
    assert encoder(model, layers=[1, 2]).encode(waves(4_000)).shape == (1, 24)


@pytest.mark.parametrize("combine", ["mean", "sum", "concat"])
def test_combine_is_arithmetic_on_the_views(combine):
    model, batch = tiny("hubert-base"), waves(4_000, 5_000)
    views = encoder(model, layers=[1, -1], combine="views").encode(batch)
    found = encoder(model, layers=[1, -1], combine=combine)
    expected = {"mean": views.mean(1), "sum": views.sum(1), "concat": views.flatten(1)}[combine]
    torch.testing.assert_close(found.encode(batch), expected)
    assert found.shape == expected.shape[1:]


def test_pooling_is_the_moments_of_the_frames():
    model, batch = tiny("wavlm-base"), waves(4_000, 7_000)
    frames = encoder(model, pooling="frames").encode_frames(batch)
    pooled = encoder(model, pooling="mean_std").encode(batch)
    for row, own in zip(pooled, frames, strict=True):
        expected = torch.cat([own.mean(0), own.std(0, correction=0)])
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="call encode_frames"):
        encoder(model, pooling="frames").encode(batch)


def test_long_audio_is_the_frame_weighted_average_of_its_pieces():
    model, (wave,) = tiny("wav2vec2-large"), waves(40_000)
    wave[14_000:14_400] = 0  # the quiet point
    whole = encoder(model, chunk_seconds=1.0, pooling="mean_std")
    (frames,) = encoder(model, chunk_seconds=1.0, pooling="frames").encode_frames([wave])
    from models.encoders.padding import cut_long

    pieces = cut_long(wave, 16_000)
    assert 14_000 <= len(pieces[0]) <= 14_400
    assert max(map(len, pieces)) <= 16_000 and sum(map(len, pieces)) == 40_000
    expected = torch.cat([frames.mean(0), frames.std(0, correction=0)])
    torch.testing.assert_close(whole.encode([wave])[0], expected, atol=1e-5, rtol=1e-5)
    padded = encoder(model, chunk_seconds=1.0, pooling="mean_std", layout="padded")
    torch.testing.assert_close(padded.encode([wave])[0], expected, atol=1e-5, rtol=1e-5)


def test_bf16_is_near_fp32_and_comes_back_as_float32():
    model, batch = tiny("hubert-base"), waves(16_000, 8_000)
    exact = encoder(model).encode(batch)
    import copy

    rough = encoder(copy.deepcopy(model), precision="bf16").encode(batch)
    assert rough.dtype == torch.float32
    assert torch.cosine_similarity(exact, rough).min() > 0.99
    assert not torch.equal(exact, rough)


def test_normalisation_makes_the_gain_not_matter_where_the_model_wants_it():
    loud, model = waves(8_000), tiny("wav2vec2-large")
    quiet = [wave * 0.1 for wave in loud]
    scaled = encoder(model)
    torch.testing.assert_close(scaled.encode(loud), scaled.encode(quiet), atol=1e-4, rtol=1e-4)
    assert scaled.identity()["normalize"] and not encoder(tiny("hubert-base")).model.normalize


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "data2vec-audio", "whisper"])
def test_a_pruned_row_is_its_own_too_and_keep_rate_one_changes_nothing(name):
    model, batch = tiny(name), waves(16_000, 9_000, 12_000)
    pruning = PruningConfig(method="merge", keep_rate=0.5, layer=1, k_min=4)
    settings = {"layers": [1, 3], "combine": "concat"}
    alone = encoder(model, **settings, pruning=pruning).encode(batch)
    padded = encoder(model, **settings, pruning=pruning, layout="padded").encode(batch)
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=0)
    full = encoder(model, **settings).encode(batch)
    assert torch.equal(alone[:, :24], full[:, :24]) and not torch.equal(alone, full)
    kept = PruningConfig(method="merge", keep_rate=1.0)
    assert torch.equal(encoder(model, **settings, pruning=kept).encode(batch), full)


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


def test_a_batch_too_large_for_the_device_is_halved(monkeypatch):
    model, batch = tiny("hubert-base"), waves(4_000, 5_000, 6_000, 7_000, 8_000)
    ours, whole = encoder(model, layout="padded"), SpeechEncoder._layers
    budget = ours.budget

    def small_card(self, pieces, use):
        if len(pieces) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, pieces, use)

    monkeypatch.setattr(SpeechEncoder, "_layers", small_card)
    torch.testing.assert_close(ours.encode(batch), encoder(model).encode(batch), atol=1e-5, rtol=0)
    assert 0 < ours.budget < budget


def test_the_pass_can_be_trained_through():
    from models.encoders.speech_models import make_backbone

    model = tiny("hubert-large")
    states = list(make_backbone(model)(torch.randn(2, 4_000), [4_000, 3_000], last=2))
    assert [layer for layer, _ in states] == [0, 1, 2]
    states[-1][1].hidden.square().sum().backward()
    assert model.feature_extractor.conv_layers[0].conv.weight.grad.abs().sum() > 0
    assert model.encoder.layers[1].attention.q_proj.weight.grad.abs().sum() > 0
    assert model.encoder.layers[2].attention.q_proj.weight.grad is None


def test_what_lies_on_padding_never_enters_the_moments():
    from models.pooling import join_moments, masked_moments

    x = torch.randn(2, 7, 3)
    weight = torch.tensor([[1.0] * 7, [2.0, 1.0, 3.0, 0, 0, 0, 0]])
    x[1, 3:] = torch.nan
    found = masked_moments(x, weight)
    repeated = x[1, [0, 0, 1, 2, 2, 2]]  # a token of size m is m frames
    torch.testing.assert_close(found.mean[1], repeated.mean(0))
    torch.testing.assert_close(found.variance[1], repeated.var(0, correction=0))
    parts = [masked_moments(x[:1, :2]), masked_moments(x[:1, 2:])]
    joined = join_moments(parts)
    torch.testing.assert_close(joined.mean[0], x[0].mean(0))
    torch.testing.assert_close(joined.variance[0], x[0].var(0, correction=0))


def test_none_means_no_encoder():
    assert build_speech_encoder(SpeechConfig(model="none")) is None
