"""Vectors of many rows stay in their file; what is read of them is what a tensor of all holds."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

from models.encoders import TextConfig, build_text_encoder
from models.encoders.corpus_array import CorpusArray
from models.fusion import FusionConfig
from semi.features import in_place, table
from semi.features.config import FeaturesConfig
from semi.features.mapped import MappedVectors
from semi.features.read import RawFeatures, read_features
from semi.features.sources import Limits
from semi.features.standardize import Standardizer
from semi.features.tensors import Features
from semi.self_training.pool_answers import pool_logits
from semi.self_training.prepare import digest
from semi.self_training.rounds import run_rounds
from semi.training.students import learned_start

ROWS, DIMS = 300, 9


@pytest.fixture
def mapped(tmp_path):
    """Vectors in another order than the file's, of which some rows have none."""
    draw = np.random.default_rng(0)
    values = draw.normal(3, 2, (ROWS, DIMS)).astype(np.float32)
    np.savez(tmp_path / "x.npz", id=np.arange(ROWS), x=values)
    source = CorpusArray(tmp_path / "x.npz", "x")
    at = draw.permutation(ROWS)
    at[:100] = np.arange(50, 150)  # a stretch in the file's order
    at[::11] = -1
    return MappedVectors(source.read, at, torch.from_numpy(at >= 0), DIMS)


def as_tensor(mapped):
    values = torch.from_numpy(mapped.read.__self__.values[mapped.at])
    values[~mapped.present] = 0.0
    return values


def both(mapped):
    present = mapped.present[:, None]
    return Features({"x": mapped}, present), Features({"x": as_tensor(mapped)}, present)


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(10, 70), slice(0, 0), slice(-5, None), torch.tensor([7, 3, 3, 299]),
     torch.zeros(0, dtype=torch.long), torch.arange(ROWS) % 3 == 0, np.array([1, 2])],
)  # fmt: skip
def test_rows_are_sliced_out_as_of_a_tensor(mapped, rows):
    assert torch.equal(mapped[rows], as_tensor(mapped)[rows])
    assert mapped[rows].dtype == torch.float32


@pytest.mark.parametrize("rows", [1, 7, 256, 100_000])
def test_all_rows_come_some_after_the_other(mapped, rows):
    parts = list(mapped.split(rows))
    assert max(map(len, parts)) <= rows
    assert torch.equal(torch.cat(parts), as_tensor(mapped))
    assert len(parts) == -(-ROWS // rows) and mapped.shape == (ROWS, DIMS) and mapped.dim() == 2


def test_a_file_of_other_numbers_is_read_as_float32(tmp_path):
    values = np.arange(12, dtype=np.int16).reshape(4, 3)
    np.savez(tmp_path / "x.npz", id=np.arange(4), x=values)
    found = MappedVectors(
        CorpusArray(tmp_path / "x.npz", "x").read, np.arange(4), torch.ones(4).bool(), 3
    )
    assert torch.equal(found[1:3], torch.arange(3, 9).float().view(2, 3))


@pytest.mark.parametrize(
    "config",
    [FeaturesConfig(standardize="global"), FeaturesConfig(standardize="speaker"),
     FeaturesConfig(standardize="none"), FeaturesConfig(standardize="global", clamp=0.5),
     FeaturesConfig(standardize="speaker", pca=4)],
)  # fmt: skip
def test_scaling_is_that_of_a_tensor(mapped, config):
    mine, other = both(mapped)
    learn = torch.arange(ROWS) % 4 > 0
    speakers = [f"s{i % 7}" if i % 4 else f"new{i % 2}" for i in range(ROWS)]
    fitted = [Standardizer.fit(features, learn, config, speakers) for features in (mine, other)]
    for name in ("mean", "std", "speaker_mean", "speaker_std"):
        assert torch.equal(*(getattr(f.profiles["x"], name) for f in fitted))
    one, two = (f.apply(given, speakers) for f, given in zip(fitted, (mine, other), strict=True))
    assert one.dims == two.dims == {"x": config.pca or DIMS}
    torch.testing.assert_close(one.values["x"][:], two.values["x"][:], rtol=0, atol=1e-6)
    some = torch.tensor([5, 250, 11])
    torch.testing.assert_close(one.values["x"][some], two.values["x"][some], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"scaled already|has 4 dimensions"):
        fitted[0].apply(one, speakers)


def test_the_digest_is_that_of_a_tensor_and_of_all_bytes_at_once(mapped):
    found = {digest(RawFeatures(None, features)) for features in both(mapped)}
    whole = hashlib.sha256()
    for name, value in (("present", mapped.present[:, None]), ("x", as_tensor(mapped))):
        whole.update(f"{name} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    assert found == {whole.hexdigest()}


@pytest.mark.parametrize("kind", ["discriminant", "contrastive_residual", "concat"])
def test_rounds_are_those_of_a_tensor(mapped, kind):
    tiny = tiny_dataset(gold=120, pool=150, test=30, views=1)
    config = tiny_config(model=FusionConfig(kind=kind, hidden=8))
    outcomes = []
    for features in both(mapped):
        dataset = tiny.at(torch.arange(ROWS))
        dataset.values, dataset.present = features.values, features.present
        learned = learned_start(dataset, config)
        state = run_rounds(dataset, config).states[0]
        outcomes.append((learned, state, pool_logits(dataset, state)))
    (axes, state, logits), (same_axes, same, same_logits) = outcomes
    assert all(torch.equal(v, same_axes[k]) for k, v in axes.items())
    torch.testing.assert_close(state.outputs.oof, same.outputs.oof)
    torch.testing.assert_close(logits, same_logits)


class _Encoder:
    in_place = True

    def __init__(self, path):
        self.corpus = CorpusArray(path, "x")


def test_vectors_of_a_file_stay_there_where_rows_are_many(tmp_path, monkeypatch):
    values = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    values[4, 1] = np.nan
    ids = [f"u{i}" for i in range(40)]
    np.savez(tmp_path / "x.npz", id=np.array(ids), x=values)
    table = {"id": [*ids[::-1], "nobody"]}
    few, present = in_place.read_vectors("speech", table, _Encoder(tmp_path / "x.npz"))
    monkeypatch.setattr(in_place, "MANY", 41)
    many, same = in_place.read_vectors("speech", table, _Encoder(tmp_path / "x.npz"))
    assert isinstance(few, torch.Tensor) and isinstance(many, MappedVectors)
    assert torch.equal(many[:], few) and torch.equal(present, same)
    assert (~present).nonzero()[:, 0].tolist() == [35, 40] and not few[~present].any()


def test_vectors_of_the_store_stay_there_where_rows_are_many(tmp_path, monkeypatch):
    words = ["I am glad", "", "this is sad", "so it goes", "I am glad"]
    rows = pd.DataFrame({"id": [f"u{i}" for i in range(5)], "text": words})
    encoders = {"text": build_text_encoder(TextConfig(model="char-ngram"))}
    few = read_features(rows, encoders, tmp_path, Limits()).vectors
    monkeypatch.setattr(table, "MANY", 5)
    many = read_features(rows, encoders, tmp_path, Limits()).vectors
    assert isinstance(few.values["text"], torch.Tensor)
    assert isinstance(many.values["text"], MappedVectors)
    assert torch.equal(many.values["text"][:], few.values["text"])
    assert many.present[:, 0].tolist() == [True, False, True, True, True]


def test_a_dataset_of_mapped_vectors_lies_on_its_device(mapped):
    features, _ = both(mapped)
    assert features.to("cpu").values["x"] is mapped
    on_gpu = mapped.to("meta")  # what no CPU is, a GPU here
    assert on_gpu.shape == mapped.shape and on_gpu.device.type == "meta"


def resident_of_files():
    """Megabytes of mapped files that are in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="asks Linux")
def test_what_was_read_is_given_back_to_the_system(tmp_path):
    rows, dims = 40_000, 256  # 41 MB
    np.savez(tmp_path / "x.npz", id=np.arange(rows), x=np.ones((rows, dims), np.float32))
    corpus = CorpusArray(tmp_path / "x.npz", "x")
    mapped = MappedVectors(corpus.read, np.arange(rows), torch.ones(rows).bool(), dims)
    before = resident_of_files()
    assert sum(float(part.sum()) for part in mapped.split(1000)) == rows * dims
    scattered = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
    assert float(mapped[scattered].sum()) == rows * dims
    assert resident_of_files() < before + 10
    assert float(np.asarray(corpus.values).sum()) == rows * dims  # as a reader that keeps them
    assert resident_of_files() > before + 30
