"""From the store to standardised tensors: presence, views, frames, scaling by speaker."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from semi.errors import StoreError
from semi.features.config import FeaturesConfig
from semi.features.extract import extract_rows
from semi.features.standardize import Standardizer
from semi.features.store import FeatureStore
from semi.features.table import load_features, load_frames
from semi.features.tensors import Features, Frames


class Text:
    modality, shape, layers = "text", (2,), None

    def __init__(self, views=None, frames=False):
        self.views, self.frames = views, frames
        self.layers = views

    def identity(self):
        return {"views": self.views, "frames": self.frames}

    def encode(self, batch):
        rows = torch.tensor([[len(t), ord(t[0])] for t in batch], dtype=torch.float32)
        if self.views:
            rows = torch.stack([rows + layer for layer in self.views], 1)
        return rows

    def encode_frames(self, batch):
        return [torch.tensor([[ord(c), i] for i, c in enumerate(t)]).float() for t in batch]


def table(*texts):
    return pd.DataFrame({"id": [str(i) for i in range(len(texts))], "text": list(texts)})


def stored(frame, encoder, folder):
    store = FeatureStore(folder)
    extract_rows(frame, {"text": encoder}, store, progress=False)
    return store


def test_rows_follow_the_table_and_missing_ones_are_zero(tmp_path):
    frame = table("abc", None, "b", "abc")
    features = load_features(frame, {"text": Text()}, stored(frame, Text(), tmp_path))
    assert features.values["text"].tolist() == [[3, 97], [0, 0], [1, 98], [3, 97]]
    assert features.present.tolist() == [[True], [False], [True], [True]]
    assert (features.names, features.dims, len(features)) == (["text"], {"text": 2}, 4)
    part = features.rows(torch.tensor([2, 0]))
    assert part.values["text"][:, 0].tolist() == [1, 3]


def test_kept_layers_become_modalities_named_after_them(tmp_path):
    frame = table("abc", None)
    encoder = Text(views=[3, 6])
    features = load_features(frame, {"text": encoder}, stored(frame, encoder, tmp_path))
    assert features.names == ["text.3", "text.6"]
    assert features.values["text.6"].tolist() == [[9, 103], [0, 0]]
    assert features.present.tolist() == [[True, True], [False, False]]


def test_rows_that_were_not_extracted_are_an_error(tmp_path):
    store = stored(table("a"), Text(), tmp_path)
    with pytest.raises(StoreError, match=r"lacks the text features of 2 of 3 rows; run `semi ext"):
        load_features(table("a", "b", "c", None), {"text": Text()}, store)


def test_a_modality_that_no_row_has_is_an_error_naming_it(tmp_path):
    with pytest.raises(StoreError, match=r"has no row with text; .*encoders\.text\.model=none"):
        load_features(table(None, None), {"text": Text()}, FeatureStore(tmp_path))


def test_a_modality_whose_every_row_is_quarantined_is_an_error_with_a_reason(tmp_path):
    class Refuses(Text):
        def encode(self, batch):
            raise ValueError("too odd")

    frame = table("a", "b")
    store = stored(frame, Refuses(), tmp_path)
    with pytest.raises(StoreError, match=r"lists 2 rows, none .* text \(first reason: .*too odd"):
        load_features(frame, {"text": Refuses()}, store)


def test_frames_are_packed_in_the_order_of_the_table(tmp_path):
    frame = table("abc", None, "b")
    encoder = Text(frames=True)
    store = stored(frame, encoder, tmp_path)
    frames = load_frames(frame, {"text": encoder}, store)["text"]
    assert frames.offsets.tolist() == [0, 3, 3, 4]
    assert frames.row(0).tolist() == [[97, 0], [98, 1], [99, 2]]
    assert frames.row(1).shape == (0, 2)
    assert frames.present.tolist() == [True, False, True]
    values, mask = frames.padded(torch.tensor([2, 0, 1]))
    assert mask.tolist() == [[True, False, False], [True] * 3, [False] * 3]
    assert values[0].tolist() == [[98, 0], [0, 0], [0, 0]]
    with pytest.raises(StoreError, match="keeps frames"):
        load_features(frame, {"text": encoder}, store)
    vectors = load_frames(frame, {"text": Text()}, stored(frame, Text(), tmp_path))["text"]
    assert vectors.offsets.tolist() == [0, 1, 1, 2]


def test_precomputed_arrays_go_the_same_way(tmp_path):
    from models.encoders import ArrayConfig, build_array_encoder

    np.savez(tmp_path / "v.npz", id=np.array(["0", "2"]), video=np.eye(2, 3, dtype=np.float32))
    encoder = build_array_encoder(ArrayConfig(path="v.npz"), modality="video", root=str(tmp_path))
    frame = table("a", "b", "c")
    store = FeatureStore(tmp_path / "s")
    extract_rows(frame, {"video": encoder}, store, progress=False)
    features = load_features(frame, {"video": encoder}, store)
    assert features.values["video"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert features.present[:, 0].tolist() == [True, False, True]


def test_precomputed_files_are_known_by_their_content(tmp_path):
    from models.encoders import ArrayConfig, build_array_encoder

    (tmp_path / "v").mkdir()
    for name, value in (("x", 1.0), ("y", 2.0)):
        np.save(tmp_path / "v" / f"{name}.npy", np.full(2, value, np.float32))
    (tmp_path / "v" / "z.npy").write_bytes(b"damaged")
    frame = pd.DataFrame({"id": list("abcd"), "video": ["v/x.npy", "v/y.npy", None, "v/z.npy"]})
    store = FeatureStore(tmp_path / "s")

    def load():
        config = ArrayConfig(column="video")
        encoder = build_array_encoder(config, modality="video", root=str(tmp_path))
        result = extract_rows(frame, {"video": encoder}, store, progress=False)
        return result, load_features(frame, {"video": encoder}, store)

    result, features = load()
    assert features.values["video"][:, 0].tolist() == [1, 2, 0, 0]
    assert [q.id for q in result.quarantine] == ["d"]
    np.save(tmp_path / "v" / "x.npy", np.full(2, 7.0, np.float32))
    result, features = load()
    assert result.done == 1
    assert features.values["video"][:, 0].tolist() == [7, 2, 0, 0]


def some_features(n=200, dims=5, missing=True):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(n, dims, generator=generator) * torch.arange(1, dims + 1) + 10
    present = torch.ones(n, 1, dtype=torch.bool)
    if missing:
        present[::7] = False
        values[::7] = 0
    return Features({"speech": values}, present, ["speech"])


def test_training_rows_get_mean_0_and_deviation_1_and_others_do_not_matter():
    features = some_features()
    rows = torch.arange(200) < 120
    scaled = Standardizer.fit(features, rows, FeaturesConfig(clamp=0)).apply(features)
    use = rows & features.present[:, 0]
    chosen = scaled.values["speech"][use]
    torch.testing.assert_close(chosen.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(chosen.std(0, unbiased=False), torch.ones(5))
    assert scaled.values["speech"][~features.present[:, 0]].abs().max() == 0
    changed = some_features()
    changed.values["speech"][~rows] += 1000
    again = Standardizer.fit(changed, rows, FeaturesConfig(clamp=0)).apply(changed)
    torch.testing.assert_close(again.values["speech"][rows], scaled.values["speech"][rows])


def test_values_are_clamped_and_a_constant_dimension_stays_finite():
    features = some_features(missing=False)
    features.values["speech"][:, 0] = 3.0
    features.values["speech"][0, 1] = 1e6
    scaled = Standardizer.fit(features, [True] * 200).apply(features).values["speech"]
    assert scaled.abs().max() == 5.0
    assert scaled[:, 0].abs().max() == 0.0


def test_in_place_it_writes_over_what_it_was_given_and_nothing_else_changes():
    features = some_features()
    features.values["speech"][~features.present[:, 0]] = torch.nan  # whatever stands there
    speakers = [("ann", "bob", None)[i % 3] for i in range(200)]
    config = FeaturesConfig(standardize="speaker")
    standardizer = Standardizer.fit(features, [True] * 200, config, speakers)
    before = features.values["speech"].clone()
    apart = standardizer.apply(features, speakers).values["speech"]
    assert torch.equal(features.values["speech"].nan_to_num(), before.nan_to_num())
    within = standardizer.apply(features, speakers, in_place=True).values["speech"]
    assert torch.equal(within, apart)
    assert within.data_ptr() == features.values["speech"].data_ptr()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_sums_of_many_rows_are_as_exact_as_their_columns(offset):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(5000, 3, generator=generator) * torch.tensor([1.0, 50.0, 0.2]) + offset
    features = Features({"speech": values}, torch.ones(5000, 1, dtype=torch.bool), ["speech"])
    profile = Standardizer.fit(features, [True] * 5000).profiles["speech"]
    x = values.double()
    torch.testing.assert_close(profile.mean, x.mean(0).float(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(profile.std, x.std(0, unbiased=False).float(), rtol=1e-6, atol=0)


def test_none_changes_nothing():
    features = some_features()
    standardizer = Standardizer.fit(features, [True] * 200, FeaturesConfig(standardize="none"))
    torch.testing.assert_close(
        standardizer.apply(features).values["speech"], features.values["speech"]
    )


def slow_speaker(values, here, rows, speakers, shrink):
    """The shrunk profiles, written out one speaker at a time in float64."""
    x = values.double()
    use = rows & here
    mean, variance = x[use].mean(0), x[use].var(0, unbiased=False)
    profiles = {}
    for name in {s for s, r in zip(speakers, rows, strict=True) if r and s}:
        profiles[name] = use & torch.tensor([s == name for s in speakers])
    for name in {s for s in speakers if s and s not in profiles}:
        profiles[name] = here & torch.tensor([s == name for s in speakers])
    out = (x - mean) / variance.sqrt()
    for name, mine in profiles.items():
        n = int(mine.sum())
        m = (x[mine].sum(0) + shrink * mean) / (n + shrink)
        own = ((x[mine] - x[mine].mean(0)) ** 2).sum(0) if n else 0
        v = (own + shrink * variance) / (n + shrink)
        whose = torch.tensor([s == name for s in speakers])
        out[whose] = (x[whose] - m) / v.sqrt()
    return out.clamp(-5, 5) * here[:, None]


def test_speaker_scaling_is_the_written_out_formula():
    features = some_features()
    speakers = [("ann", "bob", "cy", None, "")[i % 5] for i in range(200)]
    speakers[150:] = ["dee"] * 30 + ["eve"] + ["ann"] * 19
    rows = torch.arange(200) < 150
    config = FeaturesConfig(standardize="speaker", speaker_shrink=5.0)
    standardizer = Standardizer.fit(features, rows, config, speakers)
    assert standardizer.speakers == ["ann", "bob", "cy"]
    here = features.present[:, 0]
    expected = slow_speaker(features.values["speech"], here, rows, speakers, 5.0)
    got = standardizer.apply(features, speakers).values["speech"]
    torch.testing.assert_close(got, expected.float(), atol=1e-5, rtol=1e-5)
    assert got.dtype == torch.float32


def test_a_known_speakers_rows_do_not_depend_on_what_else_is_given():
    features = some_features(missing=False)
    speakers = [("ann", "bob")[i % 2] for i in range(200)]
    config = FeaturesConfig(standardize="speaker")
    standardizer = Standardizer.fit(features, [True] * 200, config, speakers)
    whole = standardizer.apply(features, speakers).values["speech"]
    one = standardizer.apply(features.rows(torch.tensor([7])), ["bob"]).values["speech"]
    assert torch.equal(whole[7:8], one)
    unknown = standardizer.apply(features.rows(torch.tensor([7])), [None]).values["speech"]
    glob = Standardizer.fit(features, [True] * 200).apply(features).values["speech"]
    torch.testing.assert_close(unknown, glob[7:8])


@pytest.mark.parametrize("mode", ["global", "speaker", "none"])
@pytest.mark.parametrize("pca", [None, 3])
def test_saved_and_loaded_it_gives_the_same_numbers(tmp_path, mode, pca):
    from safetensors.torch import load_file, save_file

    features = some_features()
    speakers = [("ann", "bob", None)[i % 3] for i in range(200)]
    config = FeaturesConfig(standardize=mode, pca=pca)
    standardizer = Standardizer.fit(features, [True] * 200, config, speakers)
    save_file(standardizer.state_dict(), tmp_path / "s.safetensors")
    meta = json.loads(json.dumps(standardizer.meta()))
    loaded = Standardizer.load(load_file(tmp_path / "s.safetensors"), meta)
    one = standardizer.apply(features, speakers).values["speech"]
    two = loaded.apply(features, speakers).values["speech"]
    assert torch.equal(one, two)
    assert one.shape == (200, pca or 5)


@pytest.mark.parametrize("n", [200, 4])
def test_principal_components_keep_what_varies_most(n):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(n, 2, generator=generator)
    values = hidden @ torch.randn(2, 6, generator=generator)
    features = Features({"speech": values}, torch.ones(n, 1, dtype=torch.bool), ["speech"])
    config = FeaturesConfig(standardize="none", pca=2)
    standardizer = Standardizer.fit(features, [True] * n, config)
    scaled = standardizer.apply(features).values["speech"]
    profile = standardizer.profiles["speech"]
    back = scaled / profile.scale @ profile.components.T
    torch.testing.assert_close(back, values, atol=1e-4, rtol=1e-4)  # rank 2: nothing is lost
    assert float((scaled**2).mean()) == pytest.approx(1.0, abs=1e-4)
    gram = profile.components.T @ profile.components
    torch.testing.assert_close(gram, torch.eye(2), atol=1e-5, rtol=0)


def test_the_wrong_features_are_refused():
    standardizer = Standardizer.fit(some_features(), [True] * 200)
    with pytest.raises(ValueError, match=r"no profile for the modality text; .* fitted on speech"):
        standardizer.apply(Features({"text": torch.ones(2, 5)}, torch.ones(2, 1).bool()))
    with pytest.raises(ValueError, match="speech has 4 dimensions, the profile was fitted on 5"):
        standardizer.apply(Features({"speech": torch.ones(2, 4)}, torch.ones(2, 1).bool()))
    with pytest.raises(ValueError, match="no training row has speech"):
        Standardizer.fit(some_features(), [False] * 200)


def test_frames_are_scaled_over_frames_and_by_their_rows_speaker():
    generator = torch.Generator().manual_seed(0)
    offsets = torch.tensor([0, 30, 30, 50, 90])
    values = torch.randn(90, 3, generator=generator) + 4
    present = torch.tensor([True, False, True, True])
    frames = {"speech": Frames(values, offsets, present)}
    speakers = ["ann", "bob", "bob", "ann"]
    config = FeaturesConfig(standardize="speaker", speaker_shrink=0.0, clamp=0)
    standardizer = Standardizer.fit_frames(frames, [True] * 4, config, speakers)
    scaled = standardizer.apply_frames(frames, speakers)["speech"]
    bob = scaled.row(2)
    torch.testing.assert_close(bob.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(bob.std(0, unbiased=False), torch.ones(3))
    rows = Standardizer.fit_frames(frames, [True, False, False, False], FeaturesConfig(clamp=0))
    first = rows.apply_frames(frames)["speech"].row(0)
    torch.testing.assert_close(first.mean(0), torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"standardize": "zscore"}, "standardize must be one of auto, global, speaker, none"),
        ({"clamp": -1.0}, r"clamp must be >= 0 \(0 = never\), got -1.0"),
        ({"pca": 0}, "pca must be >= 1 or null, got 0"),
        ({"speaker_shrink": -1.0}, "speaker_shrink must be >= 0, got -1.0"),
        ({"store": ""}, "store must be the path of a folder, got ''"),
    ],
)
def test_settings_out_of_range_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        FeaturesConfig(**given)
