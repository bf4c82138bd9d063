"""The layout of MERTools: pickled labels read safely, fillers never gold, what is missing said."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from corpus_trees import put, wav

from models.encoders import ArrayConfig, build_array_encoder
from semi.data.config import DataConfig
from semi.data.corpora import corpus_manifest
from semi.data.corpora.pickles import read_npz, safe_loads
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError

EMOTIONS = ["neutral", "angry", "happy", "sad", "worried", "surprise"]
CLIP, HUBERT = "clip-vit-large-patch14-UTT", "chinese-hubert-large-FRA"


def told(notes, words):
    return any(words in note for note in notes)


def mer(root, real_tests=False):
    root.mkdir(exist_ok=True)
    train = {f"sample_{i:04d}": {"emo": EMOTIONS[i % 6], "val": np.float64(i)} for i in range(12)}
    test = {f"test_{i}": {"emo": EMOTIONS[i] if real_tests else "neutral"} for i in range(3)}
    np.savez_compressed(root / "label-6way.npz", train_corpus=train, test1_corpus=test)
    names = [*train, *test, "pool_1", "pool_2"]
    lines = ["name,chinese", *[f'{name},"你好，{name}"' for name in names[:-1]]]
    put(root / "transcription-merge.csv", "\n".join(lines))
    put(root / "transcription.csv", "name,sentence\nsample_0000,旧\n")
    rng = np.random.default_rng(0)
    for name in names:
        if name != "sample_0003":
            wav(root / "audio" / f"{name}.wav", 0.15)
        for folder, shape in ((CLIP, (4,)), (HUBERT, (3, 5))):
            if name != "sample_0001":
                path = root / "features" / folder / f"{name}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, rng.normal(size=shape).astype(np.float32))
    return root


def test_labels_transcripts_audio_features_and_pool_stand_in_one_table(tmp_path):
    table, notes = corpus_manifest("mer2024", mer(tmp_path / "mer"))
    by = table.set_index("id")
    assert table["corpus"].value_counts().to_dict() == {
        "train_corpus": 12, "test1_corpus": 3, "pool": 2
    }  # fmt: skip
    assert by.loc["sample_0004", "label"] == "worried" and by.loc["sample_0004", "valence"] == 4
    assert by.loc["sample_0000", "text"] == "你好，sample_0000"
    assert by.loc["sample_0003", "audio"] is None and by.loc["pool_2", "text"] is None
    assert by.loc["sample_0001", CLIP] is None and by.loc["pool_1", CLIP].endswith("pool_1.npy")
    assert told(notes, f"features {CLIP}: 16 of 17, without it sample_0001")  # M-9
    scattered = tmp_path / "mer" / "features" / HUBERT / "pool_9" / "00001.npy"
    scattered.parent.mkdir()
    np.save(scattered, np.zeros(3))
    assert told(corpus_manifest("mer2024", tmp_path / "mer")[1], "one file a frame")
    assert told(notes, "audio: 16 of 17") and told(notes, "transcription-merge.csv")


def test_fillers_of_a_test_without_labels_are_never_gold(tmp_path):
    table, notes = corpus_manifest("mer2024", mer(tmp_path / "mer"))
    assert table.loc[table["corpus"] == "test1_corpus", "label"].isna().all()
    assert told(notes, "test1_corpus: the 3 labels in label-6way.npz are all alike, thus fillers")
    real, _ = corpus_manifest("mer2024", mer(tmp_path / "real", real_tests=True))
    held = real[real["corpus"] == "test1_corpus"]
    assert held["label"].tolist() == EMOTIONS[:3] and set(held["split"]) == {"test"}
    kept, _ = corpus_manifest("mer2024", tmp_path / "mer", test_labels="keep")
    assert set(kept.loc[kept["corpus"] == "test1_corpus", "label"]) == {"neutral"}


def test_the_manifest_splits_and_its_feature_columns_are_read(tmp_path):
    table, _ = corpus_manifest("mer2024", mer(tmp_path / "mer", real_tests=True), pool="no")
    write_manifest(table, tmp_path / "m.csv")
    config = DataConfig(classes=EMOTIONS)
    manifest = load_manifest(tmp_path / "m.csv", config)
    splits = make_splits(manifest, config, folds=2, seed=0)
    assert (splits.role == "test").sum() == 3 and (splits.role == "labeled").sum() == 12
    video = build_array_encoder(ArrayConfig(column=CLIP), modality="video", root=str(tmp_path))
    assert video.encode([manifest.table[CLIP][0]]).shape == (1, 4)
    frames = build_array_encoder(ArrayConfig(column=HUBERT), modality="v", root=str(tmp_path))
    assert frames.encode([manifest.table[HUBERT][0]]).shape == (1, 5)


def test_labels_alone_and_labels_from_a_csv(tmp_path):
    names = [f"samplenew3_{i:08d}" for i in range(4)]
    lines = [
        "name,discrete,valence",
        *[f"{n},{e},1.5" for n, e in zip(names, EMOTIONS, strict=False)],
    ]
    put(tmp_path / "label-disdim.csv", "\ufeff" + "\r\n".join(lines))
    table, notes = corpus_manifest("mer2024", tmp_path)
    assert table["label"].tolist() == EMOTIONS[:4] and set(table["valence"]) == {1.5}
    assert told(notes, "the table holds labels alone")
    write_manifest(table, tmp_path / "m.csv")
    assert len(load_manifest(tmp_path / "m.csv")) == 4


class Evil:
    def __reduce__(self):
        return os.system, ("echo broken > broken.txt",)


@pytest.mark.parametrize("value", [Evil(), {"a": Evil()}, {"a": {"emo": print}}, {"a": object()}])
def test_a_pickle_that_names_a_function_is_refused_and_nothing_runs(tmp_path, value, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("label-6way.npz", train_corpus=np.array({"x": value}, dtype=object))
    with pytest.raises(ManifestError, match="refused, since its pickle holds more than"):
        corpus_manifest("mer2024", tmp_path)
    assert not (tmp_path / "broken.txt").exists()


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "label-6way.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("train_corpus.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(1 << 20))
    with pytest.raises(ManifestError, match=r"unpacks to 1\.2 GB, more than any file of labels"):
        corpus_manifest("mer2024", tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_and_numpy_scalars_are_read(protocol):
    value = {
        "a": {"emo": "sad", "val": np.float32(1.5)},
        "b": [1, 2.5, None, True, np.int64(3), np.str_("x")],
        "c": np.arange(3),
    }
    if protocol == 2:  # its bytes name _codecs.encode, which is refused
        value = {"a": {"emo": "sad", "val": 1.5}}
    read = safe_loads(pickle.dumps(value, protocol=protocol))
    assert read["a"] == {"emo": "sad", "val": 1.5}
    if protocol > 2:
        assert read["b"] == [1, 2.5, None, True, 3, "x"] and read["c"] == [0, 1, 2]


def test_arrays_of_any_kind_and_damaged_files(tmp_path):
    np.savez(tmp_path / "a.npz", n=np.arange(3), s=np.array(["x", "y"]), d=np.array([{"a": 1}, 2]))
    read = read_npz(tmp_path / "a.npz")
    assert read == {"n": [0, 1, 2], "s": ["x", "y"], "d": [{"a": 1}, 2]}
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(ManifestError, match=r"b\.npz: not a readable \.npz file"):
        read_npz(tmp_path / "b.npz")
