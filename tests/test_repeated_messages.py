"""What is wrong in the same way many times is told once, with its rows and their number."""

import pandas as pd
import pytest

from semi.data.audio import Quarantined, unusable_lines
from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def refusal(folder, **columns):
    rows = max(len(v) for v in columns.values() if isinstance(v, list))
    frame = pd.DataFrame({"id": [f"u{i}" for i in range(rows)], "text": "a", **columns})
    frame.to_csv(folder / "m.csv", index=False)
    with pytest.raises(ManifestError) as told:
        load_manifest(folder / "m.csv")
    return str(told.value).splitlines()


def test_one_missing_sound_of_many_rows(tmp_path):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "other.wav").touch()
    starts = [float(i) for i in range(20)]
    head, *lines = refusal(tmp_path, audio=["wav/long.wav"] * 20, start=starts)
    assert head == "20 problems in " + str(tmp_path / "m.csv") + ":"
    assert len(lines) == 1
    assert lines[0].startswith(
        "  m.csv rows 2, 3, 4 and 17 more (20 in all), audio 'wav/long.wav': no such file; looked "
        f"for {tmp_path / 'wav' / 'long.wav'}"
    )


def test_many_sounds_of_one_missing_folder(tmp_path):
    _, *lines = refusal(tmp_path, audio=[f"wav/{i}.wav" for i in range(30)])
    assert len(lines) == 1
    assert (
        "rows 2, 3, 4 and 27 more (30 in all), audio 'wav/0.wav', 'wav/1.wav', 'wav/2.wav' ...:"
        in lines[0]
    )
    assert "the folder" in lines[0] and "does not exist" in lines[0]


def test_two_rows_and_few_cells_are_told_in_full(tmp_path):
    _, *lines = refusal(tmp_path, split=["tain", "train", "tain", "tst"])
    assert lines == [
        "  m.csv rows 2, 4, split 'tain': unknown split; did you mean 'train'? write train, dev, "
        "test or unlabeled, or leave the cell empty",
        "  m.csv row 5, split 'tst': unknown split; did you mean 'test'? write train, dev, test or "
        "unlabeled, or leave the cell empty",
    ]


def test_many_numbers_that_are_none_share_a_line(tmp_path):
    _, *lines = refusal(tmp_path, valence=[f"x{i}" for i in range(200)])
    assert (
        len(lines) == 1 and "(200 in all), valence 'x0', 'x1', 'x2' ...: not a number" in lines[0]
    )
    with pytest.raises(ManifestError) as told:
        load_manifest(tmp_path / "m.csv")
    assert len(told.value.problems) == 200  # each by itself, for programs


def test_segments_of_one_unusable_file_are_told_in_one_line():
    same = [Quarantined(f"u{i}", "a.wav", "silent") for i in range(20)]
    other = [Quarantined("v", "b.wav", "silent"), Quarantined("w", "", "no array")]
    assert unusable_lines([*same, *other], 8) == [
        "a.wav: silent (20 rows: u0, u1, u2 and 17 more)", "b.wav: silent", "w: no array"
    ]  # fmt: skip
    assert unusable_lines([*other, *same], 1) == ["b.wav: silent", "... and 21 more"]
