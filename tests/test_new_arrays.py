"""Precomputed arrays: their content keys the rows, so a model labels what it was not trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semi
from models.encoders import SpeechConfig, build_speech_encoder
from semi.cli import main
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore
from semi.features.table import load_features
from semi.self_training.model_dir import same_encoder


def arrays(folder, name, ids, *, seed, width=6, array="speech"):
    """An .npz file whose rows lie near their class: the id's first letter."""
    random = np.random.default_rng(seed)
    centres = {"a": 2.0, "b": -2.0}
    values = np.stack([random.normal(centres[i[0]], 1.0, width) for i in ids])
    np.savez(folder / name, **{"id": np.array(ids), array: values.astype(np.float32)})
    return folder / name


def table(folder, name, ids, *, labels):
    rows = pd.DataFrame({"id": ids, "speaker": [f"s{k % 8}" for k in range(len(ids))]})
    rows["text"] = ids
    if labels:
        rows["label"] = [i[0] for i in ids]
    rows.to_csv(folder / name, index=False)
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model trained on arrays of one .npz."""
    folder = tmp_path_factory.mktemp("npz")
    ids = [f"{'ab'[k % 2]}{k}" for k in range(80)]
    words = [
        f"data.manifest={table(folder, 'train.csv', ids, labels=True)}",
        "encoders.speech.model=precomputed",
        f"encoders.speech.path={arrays(folder, 'train.npz', ids, seed=0)}",
        "encoders.text.model=none", "data.allow_leaks=[text]", "name=npz",
        f"runs_dir={folder}", f"features.store={folder / 'store'}",
        "rounds.max_rounds=1", "tracking=false",
    ]  # fmt: skip
    assert main(["train", *words]) == 0
    return folder / "npz"


def test_a_model_labels_a_new_file_with_arrays_of_the_same_name_and_width(run, tmp_path, capsys):
    ids = [f"{'ab'[k % 2]}_new{k}" for k in range(20)]
    manifest = table(tmp_path, "new.csv", ids, labels=False)
    new = arrays(tmp_path, "new.npz", ids, seed=1)
    words = ["predict", str(run), "--manifest", str(manifest), "--arrays", f"speech={new}"]
    assert main([*words, "-o", str(tmp_path / "out.csv")]) == 0, capsys.readouterr().err
    answers = pd.read_csv(tmp_path / "out.csv")
    assert (answers["label"] == [i[0] for i in ids]).mean() > 0.9
    in_python = semi.load(run).predict(pd.read_csv(manifest), arrays={"speech": new})
    assert in_python["label"].tolist() == answers["label"].tolist()


def test_one_array_of_a_file_with_several_is_named_behind_it(run, tmp_path):
    ids = [f"{'ab'[k % 2]}{k}" for k in range(20)]
    values = np.load(arrays(tmp_path, "one.npz", ids, seed=1))["speech"]
    np.savez(tmp_path / "two.npz", id=np.array(ids), speech=values, video=values[:, :4])
    one, two = (
        semi.load(run).predict(pd.DataFrame({"id": ids}), arrays={"speech": tmp_path / name})
        for name in ("one.npz", "two.npz:speech")
    )
    pd.testing.assert_frame_equal(one, two)
    for name in ("three.npz:speech", "two.npz:", ":speech"):
        with pytest.raises(semi.errors.SemiError, match="there is no such file"):
            semi.load(run).predict(
                pd.DataFrame({"id": ids}), arrays={"speech": tmp_path / "x" / name}
            )


def test_arrays_of_another_name_or_width_are_refused(run, tmp_path):
    ids = ["a1", "b2"]
    rows = pd.DataFrame({"id": ids})
    wide = arrays(tmp_path, "wide.npz", ids, seed=1, width=7)
    with pytest.raises(semi.errors.SemiError, match=r"shape was \[6\], now \[7\]"):
        semi.load(run).predict(rows, arrays={"speech": wide})
    other = arrays(tmp_path, "other.npz", ids, seed=1, array="hubert")
    with pytest.raises(semi.errors.SemiError, match="array was 'speech', now 'hubert'"):
        semi.load(run).predict(rows, arrays={"speech": other})
    with pytest.raises(semi.errors.SemiError, match="no arrays called 'speach'; did you mean 'sp"):
        semi.load(run).predict(rows, arrays={"speach": wide})
    with pytest.raises(semi.errors.SemiError, match="there is no such file or folder"):
        semi.load(run).predict(rows, arrays={"speech": tmp_path / "absent.npz"})


@pytest.mark.parametrize("words", [["speech"], ["=a.npz"], ["speech="]])
def test_what_does_not_read_like_an_array_is_one_sentence(words, run, capsys):
    assert main(["predict", str(run), "--text", "x", "--arrays", *words]) == 2
    assert "it must read like speech=new.npz" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["npz", "folder"])
def test_changed_content_is_read_again_and_never_served_from_before(layout, tmp_path):
    rows = pd.DataFrame({"id": ["a1", "b2"]})
    store = FeatureStore(tmp_path / "store")

    def write(value: float) -> str:
        values = np.full((2, 3), value, np.float32)
        if layout == "npz":
            np.savez(tmp_path / "x.npz", id=np.array(["a1", "b2"]), speech=values)
            return str(tmp_path / "x.npz")
        (tmp_path / "x").mkdir(exist_ok=True)
        for name, row in zip(rows["id"], values, strict=True):
            np.save(tmp_path / "x" / f"{name}.npy", row)
        return str(tmp_path / "x")

    for value in (1.0, 2.0, 1.0):
        encoder = build_speech_encoder(SpeechConfig(model="precomputed", path=write(value)))
        extract_rows(rows, {"speech": encoder}, store, progress=False)
        found = load_features(rows, {"speech": encoder}, store)
        assert (found.values["speech"] == value).all()


def test_arrays_of_two_widths_share_a_store(tmp_path):
    store = FeatureStore(tmp_path / "store")
    for width in (3, 5):
        path = tmp_path / f"{width}.npz"
        np.savez(path, id=np.array(["a1"]), speech=np.ones((1, width), np.float32))
        np.save(tmp_path / f"{width}.npy", np.ones(width, np.float32))
        rows = pd.DataFrame({"id": ["a1"], "file": [str(tmp_path / f"{width}.npy")]})
        for config in (
            SpeechConfig(model="precomputed", path=str(path)),
            SpeechConfig(model="precomputed", column="file"),
        ):
            encoder = build_speech_encoder(config)
            extract_rows(rows, {"speech": encoder}, store, progress=False)
            found = load_features(rows, {"speech": encoder}, store)
            assert found.values["speech"].shape == (1, width)


def test_a_model_from_before_that_knew_its_files_hash_still_opens():
    now = {"encoder": "precomputed", "code": 1, "array": "speech", "shape": [6], "layers": []}
    old = {"encoder": "precomputed", "code": 1, "content": {"file": "0" * 64}, "layers": []}
    same_encoder("speech", old, now)
    with pytest.raises(semi.errors.SemiError, match=r"layers was \[\], now \[1\]"):
        same_encoder("speech", old, {**now, "layers": [1]})


@pytest.mark.parametrize("layout", ["npz", "folder", "column"])
def test_extract_says_so_when_no_id_matches_and_fails(layout, tmp_path, capsys):
    ids = ["a1", "b2", "a3", "b4"]
    manifest = table(tmp_path, "m.csv", ids, labels=True)
    where = arrays(tmp_path, "x.npz", ["ax", "bx"], seed=0)
    setting = f"encoders.speech.path={where}"
    if layout == "folder":
        (tmp_path / "utt").mkdir()
        np.save(tmp_path / "utt" / "ax.npy", np.ones(3))
        setting = f"encoders.speech.path={tmp_path / 'utt'}"
    elif layout == "column":
        rows = pd.read_csv(manifest).assign(vector="absent.npy")
        rows.to_csv(manifest, index=False)
        setting = "encoders.speech.column=vector"
    words = [
        f"data.manifest={manifest}", "encoders.speech.model=precomputed", setting,
        "encoders.text.model=none", f"features.store={tmp_path / 'store'}",
    ]  # fmt: skip
    assert main(["extract", *words]) == 2
    err = capsys.readouterr().err
    assert ("names a file that is there" if layout == "column" else "(ax") in err
    assert str(manifest) in err and "a fault in semi" not in err


def test_a_text_that_the_model_does_not_read_is_not_passed_over(run, capsys):
    assert main(["predict", str(run), "--text", "x"]) == 2
    told = capsys.readouterr().err
    assert "reads speech alone, no text: leave out --text" in told
