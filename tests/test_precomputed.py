"""Precomputed arrays: three layouts, and a reason for every row that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.encoders import (
    ArrayConfig,
    EncoderUnavailable,
    SpeechConfig,
    build_array_encoder,
    build_speech_encoder,
)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)  # (N, T or L, D)


def speech(path, **settings):
    return build_speech_encoder(SpeechConfig(model="precomputed", path=str(path), **settings))


def test_a_folder_of_one_file_an_utterance_in_any_format(tmp_path, values):
    from safetensors.numpy import save_file

    np.save(tmp_path / "a.npy", values[0])  # (T, D)
    np.savez(tmp_path / "b.npz", anything=values[1].mean(0))  # (D,), as in MER2024's -UTT folders
    save_file({"x": values[2]}, tmp_path / "c.safetensors")
    encoder = speech(tmp_path)
    assert encoder.shape == (4,)
    found = encoder.encode(["c", "a", "b"])
    expected = torch.from_numpy(values.mean(1)[[2, 0, 1]])
    torch.testing.assert_close(found, expected)
    assert encoder.path_of("a") == tmp_path / "a.npy" and encoder.path_of("z") is None


def test_layers_are_chosen_from_the_first_axis(tmp_path, values):
    np.save(tmp_path / "a.npy", values[0])  # (L, D)
    chosen = speech(tmp_path, layers=[1, -1])
    torch.testing.assert_close(
        chosen.encode(["a"])[0], torch.from_numpy(values[0][[1, -1]].mean(0))
    )
    views = speech(tmp_path, layers=[1, -1], combine="views")
    assert views.shape == (2, 4)
    assert torch.equal(views.encode(["a"])[0], torch.from_numpy(values[0][[1, -1]]))
    np.save(tmp_path / "b.npy", values)  # (L, T, D)
    expected = torch.from_numpy(values.mean(1)[2])
    torch.testing.assert_close(speech(tmp_path, layers=[2]).encode(["b"])[0], expected)


def test_frames_are_kept_or_pooled_as_asked(tmp_path, values):
    np.save(tmp_path / "a.npy", values[0])
    (frames,) = speech(tmp_path, pooling="frames").encode_frames(["a"])
    assert torch.equal(frames, torch.from_numpy(values[0]))
    spread = speech(tmp_path, pooling="mean_std").encode(["a"])[0]
    expected = np.concatenate([values[0].mean(0), values[0].std(0)])
    torch.testing.assert_close(spread, torch.from_numpy(expected))


def test_one_array_a_corpus(tmp_path, values):
    path = tmp_path / "corpus.npz"
    np.savez(path, id=np.array(["x", "y", "z"]), speech=values, label=np.array(["a", "b", "a"]))
    encoder = speech(path, layers=[2])
    assert torch.equal(encoder.encode(["z", "x"]), torch.from_numpy(values[[2, 0], 2]))
    np.savez(path, id=np.array([7, 8, 9]), text=values, video=values[:, 0])
    with pytest.raises(EncoderUnavailable, match=r"say which one is meant: path=corpus\.npz:text"):
        speech(path).encode(["7"])
    video = build_array_encoder(ArrayConfig(path=str(path)), modality="video")
    named = build_array_encoder(ArrayConfig(path=f"{path}:video"), modality="motion")
    assert torch.equal(video.encode(["8"]), torch.from_numpy(values[1:2, 0]))
    assert torch.equal(named.encode(["8"]), video.encode(["8"]))


def test_a_column_of_paths_starts_from_the_root(tmp_path, values):
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "deep" / "v1.npy", values[0])
    encoder = build_array_encoder(ArrayConfig(column="video"), modality="video", root=str(tmp_path))
    expected = torch.from_numpy(values[:1].mean(1))
    torch.testing.assert_close(encoder.encode(["deep/v1.npy"]), expected)
    torch.testing.assert_close(encoder.encode([str(tmp_path / "deep" / "v1.npy")]), expected)
    assert encoder.shape == (4,) and encoder.modality == "video"


def test_each_row_that_cannot_be_used_is_listed_with_its_reason(tmp_path, values):
    np.save(tmp_path / "good.npy", values[0])
    np.save(tmp_path / "nan.npy", np.full((2, 4), np.nan))
    np.save(tmp_path / "wide.npy", np.zeros(6))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "empty.npy", np.zeros((0, 4)))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    names = ["good", "absent", "nan", "wide", "words", "objects", "empty", "torn"]
    encoder = speech(tmp_path)
    encoder.encode(["good"])
    batch = encoder.read(names)
    assert batch.present.tolist() == [True] + [False] * 7
    torch.testing.assert_close(batch.values[0], torch.from_numpy(values[0].mean(0)))
    assert not batch.values[1:].any()
    told = {dataset.item: (dataset.kind, dataset.reason) for dataset in batch.problems}
    assert told["absent"] == ("missing", f"has no file in {tmp_path}")
    assert told["nan"] == ("damaged", "contains NaN or infinity")
    assert told["wide"] == ("damaged", "gives shape (6,) where the others give (4,)")
    assert "not numbers" in told["words"][1] and "is empty" in told["empty"][1]
    assert "never unpickled" in told["objects"][1] and "cannot be read" in told["torn"][1]
    with pytest.raises(ValueError, match=r"nan contains NaN or infinity; absent has no file"):
        encoder.encode(["nan", "absent"])


def test_pickled_ids_are_refused_with_the_remedy(tmp_path, values):
    path = tmp_path / "corpus.npz"
    np.savez(path, id=np.array(["x", "y", "z"], dtype=object), speech=values)
    with pytest.raises(EncoderUnavailable, match=r"np\.asarray\(ids, dtype=str\)"):
        speech(path).encode(["x"])
    # An object array that nobody asked for is nobody's trouble.
    np.savez(path, id=np.array(["x", "y", "z"]), speech=values, note=np.array([{}] * 3))
    assert speech(path).encode(["x"]).shape == (1, 4)


def test_identity_is_what_is_read_and_how_and_neither_place_nor_content(tmp_path, values):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", values[0])
    first = speech(tmp_path / "one").identity()
    assert speech(tmp_path / "two").identity() == first
    np.save(tmp_path / "two" / "a.npy", values[1])
    assert speech(tmp_path / "two").identity() == first  # the content is each row's own key
    np.save(tmp_path / "two" / "a.npy", values[1, :, :2])
    assert speech(tmp_path / "two").identity() != first
    assert speech(tmp_path / "one", pooling="mean_std").identity() != first


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"need `path`.*or `column`"):
        build_array_encoder(ArrayConfig(), modality="video")
    with pytest.raises(EncoderUnavailable, match="neither a folder"):
        speech(tmp_path / "nowhere")
    np.save(tmp_path / "all.npy", np.zeros((3, 4)))
    with pytest.raises(EncoderUnavailable, match=r"has no ids; an \.npz file with `id`"):
        speech(tmp_path / "all.npy").encode(["x"])
    np.savez(tmp_path / "twice.npz", id=np.array(["x", "x"]), speech=np.zeros((2, 4)))
    with pytest.raises(EncoderUnavailable, match="has ids twice"):
        speech(tmp_path / "twice.npz").encode(["x"])


COMPOSED, TAKEN_APART = "caf\u00e9-\uae30\uc068", "cafe\u0301-\u1100\u1175\u1108\u1173\u11b7"


@pytest.mark.parametrize("stored", [COMPOSED, TAKEN_APART, f" {TAKEN_APART} "])
@pytest.mark.parametrize("asked", [COMPOSED, TAKEN_APART])
def test_ids_meet_however_their_letters_are_composed(tmp_path, values, stored, asked):
    np.savez(tmp_path / "all.npz", id=np.array([stored, "b"]), x=values[:2].mean(1))
    encoder = speech(tmp_path / "all.npz")
    assert encoder.path_of(asked) == tmp_path / "all.npz"
    torch.testing.assert_close(encoder.encode([asked])[0], torch.from_numpy(values[0].mean(0)))
    folder = tmp_path / "each"
    folder.mkdir()
    np.save(folder / f"{stored.strip()}.npy", values[0])
    torch.testing.assert_close(speech(folder).encode([asked])[0], encoder.encode([asked])[0])
    column = ArrayConfig(column="video")
    video = build_array_encoder(column, modality="video", root=str(folder))
    torch.testing.assert_close(video.encode([f"{asked}.npy"])[0], encoder.encode([asked])[0])


def test_ids_that_only_look_the_same_are_refused(tmp_path, values):
    np.savez(tmp_path / "all.npz", id=np.array([COMPOSED, TAKEN_APART]), x=values[:2].mean(1))
    with pytest.raises(EncoderUnavailable, match=r"ids twice.*differ only in how their letters"):
        speech(tmp_path / "all.npz").path_of("a")
    for name in (COMPOSED, TAKEN_APART):
        np.save(tmp_path / f"{name}.npy", values[0])
    with pytest.raises(EncoderUnavailable, match=r"two files whose names look the same"):
        speech(tmp_path).settle()


@pytest.mark.parametrize("ids", [np.array([b"1", b"2"]), np.array([1.0, 2.0]), np.array([1, 2])])
def test_ids_of_any_type_are_read_as_a_table_spells_them(tmp_path, values, ids):
    np.savez(tmp_path / "all.npz", id=ids, x=values[:2].mean(1))
    torch.testing.assert_close(
        speech(tmp_path / "all.npz").encode(["2"])[0], torch.from_numpy(values[1].mean(0))
    )
