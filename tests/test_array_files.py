"""Files of arrays: what they would inflate to is asked before, and damage is one reason."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from models.encoders import ArrayConfig, EncoderUnavailable, build_array_encoder
from models.encoders.array_files import Archive, ArrayError, load_array, memory


def header(shape, dtype="<f4") -> bytes:
    """The header of a .npy file that says this shape."""
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def bomb(path, *, member="x", megabytes=512):
    """A small .npz whose one array inflates to so many megabytes of zeros, honestly declared."""
    ids = io.BytesIO()
    np.save(ids, np.array(["a"]))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if member != "id":
            archive.writestr("id.npy", ids.getvalue())
        with archive.open(f"{member}.npy", "w", force_zip64=True) as file:
            file.write(header((1, megabytes * 2**18)))
            for _ in range(megabytes):
                file.write(bytes(2**20))
    return path


def peak(call) -> float:
    """Megabytes that Python and NumPy held at most during the call."""
    tracemalloc.start()
    try:
        call()
    finally:
        held = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    return held


@pytest.mark.parametrize("member", ["x", "id"])
def test_a_bomb_is_refused_before_it_is_inflated(member, tmp_path):
    path = bomb(tmp_path / "bomb.npz", member=member)
    assert path.stat().st_size < 4 * 2**20

    def whole():
        encoder = build_array_encoder(ArrayConfig(path=str(path)), modality="x")
        with pytest.raises(
            EncoderUnavailable,
            match=rf"bomb\.npz packs array '{member}' of 536\.\d MB into \d\.\d MB, which no "
            r"measurements do; .*save it with np\.savez, not np\.savez_compressed",
        ):
            encoder.encode(["a"])

    assert peak(whole) < 32


def test_a_bomb_of_one_utterance_is_a_reason_and_not_the_end(tmp_path):
    with zipfile.ZipFile(bomb(tmp_path / "b.npz")) as archive:
        assert len(archive.namelist()) == 2
    (tmp_path / "utt").mkdir()
    bomb(tmp_path / "utt" / "b.npz", member="id")
    np.save(tmp_path / "utt" / "a.npy", np.ones(4, np.float32))
    batch = build_array_encoder(ArrayConfig(path=str(tmp_path / "utt")), modality="x").read(
        ["a", "b"]
    )
    assert batch.present.tolist() == [True, False]
    assert "which no measurements do" in batch.problems[0].reason


@pytest.mark.parametrize("shape", [(10**12,), (2**40, 2**40), (1, 5), (-3, 4)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_header_that_says_more_or_less_than_follows_is_damage(shape, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    content = header(shape) + bytes(16)
    if suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    with pytest.raises(ArrayError, match=r"is damaged: the header of .* and 16 bytes follow"):
        load_array(path)


def test_an_array_greater_than_this_machines_memory_is_refused(tmp_path):
    count = memory() // 4 + 2**20
    with (tmp_path / "a.npy").open("wb") as file:  # sparse: it takes no room on the disk
        file.write(header((count,)))
        file.truncate(file.tell() + 4 * count)
    with pytest.raises(ArrayError, match=r"asks for .* MB for its array, and this machine has"):
        load_array(tmp_path / "a.npy")


def test_real_arrays_are_read_however_they_were_packed(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 300)).astype(np.float32)
    padded = np.zeros((20, 500, 64), np.float32)  # short rows padded with zeros pack well
    padded[:, :3] = 1.0
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", x=values, y=padded, z=np.asfortranarray(values))
        with Archive(tmp_path / "a.npz") as archive:
            np.testing.assert_array_equal(archive.read("x"), values)
            np.testing.assert_array_equal(archive.read("y"), padded)
            np.testing.assert_array_equal(archive.read("z"), values)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_npz_is_one_sentence_that_names_it(seed, tmp_path):
    path = tmp_path / "corpus.npz"
    values = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    np.savez_compressed(path, id=np.array(["a", "b", "c"]), x=values)
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    if seed % 3 == 0:
        content = content[: random.integers(1, len(content))]
    for at in random.integers(0, len(content), 6):
        content[at] = random.integers(256)
    path.write_bytes(bytes(content))
    encoder = build_array_encoder(ArrayConfig(path=str(path)), modality="x")
    try:
        rows = encoder.encode(["a", "b", "c"])
    except (EncoderUnavailable, ArrayError) as error:
        told = str(error)
        assert told and "\n" not in told and len(told) < 400
    else:
        np.testing.assert_array_equal(rows, values)  # the damage touched nothing that is read


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"no"])
def test_what_is_no_archive_is_one_sentence(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(EncoderUnavailable, match=r"a\.npz (cannot be read|has no array `id`)"):
        build_array_encoder(ArrayConfig(path=str(tmp_path / "a.npz")), modality="x").encode(["a"])


def test_a_message_lists_few_of_many_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"array{k:05}": np.ones(2) for k in range(200)})
    with pytest.raises(ArrayError, match=r"holds 200 arrays \(array00000, .* and 195 more\)"):
        load_array(tmp_path / "a.npz", "x")


def test_files_of_outside_votes_are_opened_the_same_way(tmp_path):
    from semi.data.external_votes import outside_votes
    from semi.errors import RunError

    def asked(name):
        return outside_votes([str(tmp_path / name)], np.array(["u0", "u1"]), ["a", "b"])

    good = {"ids": np.array(["u0", "u1"]), "classes": np.array(["a", "b"]), "probs": np.eye(2)}
    np.savez(tmp_path / "good.npz", **good)
    assert asked("good.npz").tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
    bomb(tmp_path / "ids.npz", member="ids", megabytes=128)
    np.savez(tmp_path / "words.npz", **{**good, "probs": np.array([["a", "b"]] * 2)})
    (tmp_path / "torn.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-40])
    (tmp_path / "pointer.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for name, told in (
        ("ids.npz", "lacks classes, probs; say what"),
        ("words.npz", "probs must hold numbers"),
        ("torn.npz", "cannot be read"),
        ("pointer.npz", "is a Git LFS pointer"),
    ):
        with pytest.raises(RunError, match=rf"{name}.* {told}|{name}: {told}"):
            asked(name)
