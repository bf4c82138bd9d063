"""Speech encoders: a row is its own, layers are Hugging Face's, Whisper runs at true length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_speech import NAMES, encoder, tiny, waves

from models.encoders import PruningConfig, SpeechConfig, build_speech_encoder
from models.encoders.padding import normalized
from models.encoders.transport import Piece, as_float, as_pcm, cut, upload
from models.encoders.wav2vec import normalized_convolution

SHARED = Path(__file__).resolve().parents[2] / "shared"
WHISPER = SHARED / "models" / "whisper-base-encoder"
CPU = torch.device("cpu")
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
    packed = encoder(model, **settings, layout="packed").encode(batch)
    torch.testing.assert_close(packed, single, atol=1e-5, rtol=0)
    assert single.shape == (8, 4, 48)
    assert single.std(0).min() > 0
    torch.testing.assert_close(together, single, atol=1e-5, rtol=0)
    torch.testing.assert_close(small.flip(0), single, atol=1e-5, rtol=0)
    assert torch.equal(alone.encode(batch), single)


@pytest.mark.parametrize("name", [n for n in NAMES if n[:4] not in ("whis", "w2v-")])
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


def test_a_batch_too_large_for_the_device_is_halved():
    model, batch = tiny("hubert-base"), waves(4_000, 5_000, 6_000, 7_000, 8_000)
    ours = encoder(model, layout="padded")
    budget = ours.budget

    def small_card(module, given):
        if len(given[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with ours.backbone.register_forward_pre_hook(small_card):
        halved = ours.encode(batch)
    torch.testing.assert_close(halved, encoder(model).encode(batch), atol=1e-5, rtol=0)
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


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "wav2vec2-base", "data2vec-audio"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_front_end_stored_frames_first_gives_the_same_numbers(name, precision):
    batch = waves(16_000, 5_000)
    settings = {"layers": [0, 3], "combine": "views", "layout": "padded"}
    stored = encoder(tiny(name), precision, **settings)
    assert stored.backbone.frames_first
    plain = encoder(tiny(name), precision, **settings)
    plain.backbone.store_frames_first(False)
    assert not plain.backbone.frames_first
    atol = 1e-5 if precision == "fp32" else 0.1
    torch.testing.assert_close(stored.encode(batch), plain.encode(batch), atol=atol, rtol=1e-4)


def test_sounds_go_to_a_device_in_one_piece_and_come_out_as_they_were():
    pieces = [Piece(wave) for wave in waves(700, 3, 1_000)]
    for device in ("cpu", "meta"):
        given = upload(pieces, torch.device(device))
        assert [tuple(w.shape) for w in given] == [(700,), (3,), (1_000,)]
    given = upload(pieces, CPU)
    assert all(np.array_equal(p.samples, w) for p, w in zip(pieces, given, strict=True))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_sixteen_bits_travel_as_sixteen_bits_and_mean_the_same(device):
    device = torch.device(device)
    short = np.array([-32768, -1, 0, 1, 12345, 32767], np.int16)
    wave = as_float(short)
    assert as_pcm(wave).dtype == np.int16 and np.array_equal(as_pcm(wave), short)
    for other in (wave / 3, wave * 1.5, wave[:0], np.float32([1.0])):  # would lose something
        assert as_pcm(other) is other
    (given,) = upload([Piece(short)], device)
    assert given.dtype == torch.float32 and given.shape == (6,)
    mixed = upload([Piece(short), Piece(wave / 3)], device)
    if device == CPU:
        assert np.array_equal(given, wave)
        assert np.array_equal(mixed[0], wave) and np.array_equal(mixed[1], wave / 3)


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "whisper"])
@pytest.mark.parametrize("layout", ["rows", "padded"])
def test_an_utterance_in_sixteen_bits_gives_the_very_same_numbers(name, layout):
    random = np.random.default_rng(3)
    batch = [random.normal(400, 3_000, n).astype(np.int16) for n in (16_000, 9_000, 50_000)]
    ours = encoder(tiny(name), layout=layout, chunk_seconds=1.0)
    floats = [as_float(wave) for wave in batch]
    assert torch.equal(ours.encode(batch), ours.encode(floats))
    assert torch.equal(ours.encode([batch[0], floats[1]]), ours.encode(floats[:2]))


@pytest.mark.parametrize("epsilon", [1e-7, 1e-5])
def test_scaling_on_the_device_is_the_scaling_of_the_whole_utterance(epsilon):
    (wave,) = waves(40_000)
    wave = wave + 0.3
    parts = upload(cut(wave, 16_000, epsilon), CPU)
    assert len(parts) > 2
    assert np.array_equal(torch.cat(parts), normalized(wave, epsilon))


def test_a_variant_shares_the_weights_and_equals_an_encoder_of_its_own():
    batch, model = waves(16_000, 5_000), tiny("whisper")
    config = SpeechConfig(model="test", layers=[2])
    one = encoder(model)
    other = one.variant(config)
    assert other.backbone is one.backbone and other.layers == [2]
    torch.testing.assert_close(other.encode(batch), encoder(model, layers=[2]).encode(batch))


@pytest.mark.parametrize(("offset", "swing"), [(0.0, 0.1), (0.5, 0.01), (0.9, 1e-3)])
def test_the_first_norm_is_exact_whatever_the_offset_of_the_wave(offset, swing):
    backbone = encoder(tiny("hubert-base")).backbone
    layer = backbone.convolutions[0]
    torch.manual_seed(1)
    wave = offset + swing * torch.randn(2, 12_000)
    wave[1, 7_000:] = 0.0
    conv, norm = layer.conv.double(), layer.layer_norm.double()
    with torch.no_grad():
        exact = [norm(conv(w[None, None].double()))[0] for w in (wave[0], wave[1, :7_000])]
        layer.float()
        mask = torch.arange(2_399)[None] < torch.tensor([[2_399], [1_399]])
        both = normalized_convolution(layer.conv, layer.layer_norm, wave, mask).transpose(1, 2)
        alone = normalized_convolution(layer.conv, layer.layer_norm, wave[:1], None)
    for row, wanted in zip(both, exact, strict=True):
        torch.testing.assert_close(row[:, : wanted.shape[1]].double(), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(alone[0].T, both[0], atol=1e-6, rtol=1e-5)
