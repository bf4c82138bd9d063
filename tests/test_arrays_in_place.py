"""Vectors of a whole corpus are read where their file lies: equal numbers, few rows in memory."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

import semi
from models.encoders import EncoderUnavailable, SpeechConfig, build_speech_encoder
from models.encoders import corpus_array as module
from semi.errors import StoreError
from semi.features.extract import extract_rows
from semi.features.in_place import reads_in_place
from semi.features.read import read_features
from semi.features.sources import Limits
from semi.features.store import FeatureStore
from semi.features.table import load_features

N, D = 50, 6


def corpus(path, ids, values, save=np.savez):
    save(path, id=np.array(ids), speech=values)
    return build_speech_encoder(SpeechConfig(model="precomputed", path=str(path)))


def drawn(kind="<f4"):
    return (np.random.default_rng(0).normal(size=(N, D)) * 9).astype(kind)


def names():
    return [f"u{i:02d}" for i in range(N)]


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", "<i4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_rows_are_those_that_one_by_one_reading_gives(tmp_path, monkeypatch, kind, save, block):
    monkeypatch.setattr(module, "BLOCK", block)
    values = drawn(kind)
    encoder = corpus(tmp_path / "a.npz", names(), values, save)
    asked = [*names()[::-1][:20], "nobody", *names()[5:11]]
    found = read_features(
        pd.DataFrame({"id": asked}), {"speech": encoder}, tmp_path / "store", Limits()
    )
    assert found.vectors is not None
    here = found.vectors.present[:, 0]
    assert here.tolist() == [name != "nobody" for name in asked]
    expected = encoder.encode([name for name in asked if name != "nobody"])
    assert torch.equal(found.vectors.values["speech"][here], expected)
    assert not found.vectors.values["speech"][~here].any()
    count = found.extraction.modalities["speech"]
    assert (count.rows, count.done, count.cached) == (26, 0, 26)
    assert not list((tmp_path / "store").rglob("*.npy"))  # nothing is copied


def test_a_file_packed_by_nobody_is_mapped_and_one_of_columns_first_or_packed_is_read(tmp_path):
    for save, values, mapped in (
        (np.savez, drawn(), True),
        (np.savez, np.asfortranarray(drawn()), False),
        (np.savez_compressed, drawn(), False),
    ):
        encoder = corpus(tmp_path / "a.npz", names(), values, save)
        assert isinstance(encoder.corpus.values, np.memmap) == mapped
        assert torch.equal(encoder.encode(["u07"])[0], torch.from_numpy(values[7]))


def test_rows_that_are_no_numbers_are_listed_and_the_others_used(tmp_path):
    values = drawn()
    values[3, 1], values[9, 0] = np.nan, np.inf
    encoder = corpus(tmp_path / "a.npz", names(), values)
    table = pd.DataFrame({"id": names()})
    report = extract_rows(table, {"speech": encoder}, FeatureStore(tmp_path / "s"), progress=False)
    lost = [(q.id, q.path, q.reason) for q in report.quarantine]
    path = str(tmp_path / "a.npz")
    assert lost == [(name, path, "contains NaN or infinity") for name in ("u03", "u09")]
    found = load_features(table, {"speech": encoder}, FeatureStore(tmp_path / "s"))
    assert found.present[:, 0].sum() == N - 2 and torch.isfinite(found.values["speech"]).all()


def test_a_number_that_float32_cannot_hold_is_none(tmp_path):
    values = drawn("<f8")
    values[3, 1] = -1e39
    encoder = corpus(tmp_path / "a.npz", names(), values)
    found = load_features(
        pd.DataFrame({"id": names()}), {"speech": encoder}, FeatureStore(tmp_path)
    )
    assert found.present[:, 0].nonzero()[:, 0].tolist() == [k for k in range(N) if k != 3]
    assert torch.isfinite(found.values["speech"]).all()


def test_ids_that_are_no_utf8_are_gone_through(tmp_path):
    np.savez(tmp_path / "a.npz", id=np.array(["\ud800", "b"]), speech=np.ones((2, 3, D)))
    config = SpeechConfig(model="precomputed", path=str(tmp_path / "a.npz"))
    assert build_speech_encoder(config).shape == (D,)


def test_no_row_that_can_be_used_is_told(tmp_path):
    encoder = corpus(tmp_path / "a.npz", names(), np.full((N, D), np.nan, np.float32))
    for ids, told in ((["x"], "has no row with speech"), (names(), "none of which has usable")):
        with pytest.raises(StoreError, match=told):
            load_features(pd.DataFrame({"id": ids}), {"speech": encoder}, FeatureStore(tmp_path))


def test_a_changed_byte_of_a_mapped_file_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    encoder = corpus(path, names(), drawn())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("speech.npy").header_offset + 200
    content = bytearray(path.read_bytes())
    content[at + 300] ^= 1
    path.write_bytes(content)
    with pytest.raises(EncoderUnavailable, match=r"a\.npz cannot be read .*CRC-32"):
        encoder.encode(["u01"])


@pytest.mark.parametrize("about", [{"pooling": "mean_std"}, {"layers": [0]}, {"pooling": "frames"}])
def test_what_is_pooled_goes_through_the_store(tmp_path, about):
    np.savez(tmp_path / "a.npz", id=np.array(["a", "b"]), speech=np.ones((2, 3, D)))
    config = SpeechConfig(model="precomputed", path=str(tmp_path / "a.npz"), **about)
    assert not reads_in_place(build_speech_encoder(config))


def test_a_run_on_mapped_halves_is_the_run_on_a_folder_of_their_vectors(tmp_path):
    values = np.random.default_rng(1).normal(size=(60, D)).astype(np.float16)
    values[:, 0] += np.arange(60) % 2 * 4
    ids = [f"u{i:02d}" for i in range(60)]
    np.savez(tmp_path / "all.npz", id=np.array(ids[::-1]), speech=values[::-1])
    (tmp_path / "each").mkdir()
    for name, row in zip(ids, values, strict=True):
        np.save(tmp_path / "each" / f"{name}.npy", row)
    lines = [f"{n},{'ab'[i % 2] if i < 30 else ''}" for i, n in enumerate(ids)]
    (tmp_path / "m.csv").write_text("\n".join(["id,label", *lines]) + "\n")
    kept = []
    for place in ("all.npz", "each"):
        words = [
            "recipe=none", f"name={place}", f"runs_dir={tmp_path}/runs", "track=[]", "threads=1",
            f"data.manifest={tmp_path}/m.csv", f"features.store={tmp_path}/store",
            "encoders.speech.model=precomputed", f"encoders.speech.path={tmp_path}/{place}",
            "encoders.text.model=none", "model.kind=discriminant", "train.folds=2",
        ]  # fmt: skip
        run = semi.self_train(semi.load_config(None, words), progress=False).path
        kept.append((run / "ledger.csv").read_bytes())
    assert kept[0] == kept[1]
