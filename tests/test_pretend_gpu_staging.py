"""Sounds sent ahead to the pretend GPU: the same vectors, and a store like the CPU's."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from pretend_gpu import pretend_gpu
from test_pretend_gpu_encoders import FEW, encoder
from tiny_speech import tiny, waves

from models.encoders.staging import StagedBatch
from models.encoders.transport import as_pcm
from semi.data.corpora import bundled_emodb
from semi.features.encode import encode
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore


def sounds():
    """Returns sounds in both forms, one of them in two pieces."""
    return [*waves(9000, 25_000, 5000), as_pcm((waves(7000)[0] * 32768).round() / 32768)]


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "whisper"])
def test_a_batch_sent_ahead_has_the_same_vectors_and_no_further_wait(name):
    settings = {"layout": "padded", "chunk_seconds": 1.0, **FEW}
    want = encoder(tiny(name), "cpu", **settings).encode(sounds())
    with pretend_gpu() as work:
        on_gpu = encoder(tiny(name), "cuda", **settings)
        on_gpu.backbone.to("cuda")
        work.waits.clear()
        batch = on_gpu.staged(sounds())
        assert isinstance(batch, StagedBatch) and not work.waits, work.table()
        assert sum(n for (kind, _), n in work.copies.items() if kind == "upload") >= 1
        sent = sum(work.copies.values())
        got = on_gpu.encode(batch)
        later = [at for _, at in work.copies if "transport.py" in at and "upload" in at]
        assert sum(work.waits.values()) == 1, work.table()
        assert sum(work.copies.values()) - sent <= 4 and len(later) <= 2  # lengths alone
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)


def test_frames_are_the_same_too():
    settings = {"layout": "padded", "pooling": "frames"}
    want = encoder(tiny("hubert-base"), "cpu", **settings).encode_frames(sounds())
    with pretend_gpu():
        on_gpu = encoder(tiny("hubert-base"), "cuda", **settings)
        got = on_gpu.encode_frames(on_gpu.staged(sounds()))
    for one, other in zip(want, got, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=0)


def test_on_a_cpu_a_batch_stays_as_it_is():
    batch = sounds()
    assert encoder(tiny("hubert-base"), "cpu").staged(batch) is batch


def test_a_sound_that_cannot_be_encoded_costs_only_itself():
    good = waves(9000, 5000)
    with pretend_gpu():
        on_gpu = encoder(tiny("hubert-base"), "cuda", layout="padded")
        bad = [good[0], np.array([np.nan, 0.0], np.float32), good[1]]
        staged = on_gpu.staged(bad)
        first, reason, last = encode(on_gpu, staged)
    assert "NaN or infinity" in reason
    want = encoder(tiny("hubert-base"), "cpu", layout="padded").encode(good)
    np.testing.assert_allclose(np.stack([first, last]), want, atol=2e-6)


def test_a_card_that_is_too_small_for_a_batch_encodes_it_in_halves():
    model, batch = tiny("hubert-base"), waves(9000, 8000, 5000, 4000)
    want = encoder(model, "cpu", layout="padded").encode(batch)
    with pretend_gpu():
        on_gpu = encoder(model, "cuda", layout="padded")
        network, seen = on_gpu.backbone, []

        def small(rows, lengths, **words):
            seen.append(len(lengths))
            if len(lengths) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return network(rows, lengths, **words)

        small.__dict__.update(shortest=network.shortest, longest=network.longest,
                              multiple=network.multiple, prepare=network.prepare)  # fmt: skip
        on_gpu.__dict__["backbone"] = small
        got = on_gpu.encode(on_gpu.staged(batch))
    assert seen == [4, 2, 1, 1, 2, 1, 1]
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)


def test_extraction_with_batches_sent_ahead_fills_a_store_like_the_cpu_s(tmp_path):
    table = pd.read_csv(bundled_emodb(), dtype=str).head(9).copy()
    table["audio"] = [str(bundled_emodb().parent / name) for name in table["audio"]]
    table.loc[4, "audio"] = str(tmp_path / "missing.wav")
    model = tiny("hubert-base")
    model.float()

    def fill(device, folder):
        encoders = {"speech": encoder(copy.deepcopy(model), device, layout="padded", **FEW)}
        store = FeatureStore(folder)
        done = extract_rows(table, encoders, store, progress=False)
        shelf = store.shelf("speech", encoders["speech"].identity()).open()
        return done, shelf.rows(np.arange(len(shelf)))

    want_done, want = fill("cpu", tmp_path / "cpu")
    with pretend_gpu() as work:
        done, got = fill("cuda", tmp_path / "gpu")
    assert done.modalities["speech"].done == want_done.modalities["speech"].done == 8
    assert len(done.quarantine) == len(want_done.quarantine) == 1
    np.testing.assert_allclose(got, want, atol=5e-6)
    downloads = sum(n for (kind, _), n in work.waits.items() if kind == "download")
    assert downloads == 1, work.table()  # one batch holds them all
