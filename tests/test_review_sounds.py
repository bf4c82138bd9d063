"""The sounds of the review page: whole, by ranges, in parts of a file, or gone."""

import io
import shutil

import numpy as np
import pytest
import soundfile
from review_client import HEADERS, opened, rows
from speech_files import speech
from spoken_run import copied, run_settings
from starlette.testclient import TestClient

import semi
from semi.data.audio import load_audio
from semi.review.rows import review_table
from semi.review.server import review_app
from semi.review.sound import asked_part


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


def test_a_sound_comes_whole_and_by_ranges(run):
    table, client = opened(run)
    name = rows(client)["rows"][0]["id"]
    whole = client.get("/audio", params={"id": name})
    assert whole.status_code == 200 and whole.headers["content-type"] == "audio/wav"
    assert whole.headers["accept-ranges"] == "bytes"
    samples, rate = soundfile.read(io.BytesIO(whole.content), dtype="float32")
    wanted = load_audio(table.columns["audio"][table.number[name]])
    assert rate == 16_000 and np.abs(samples - wanted).max() < 1e-4
    size = len(whole.content)
    for given, part in (("0-99", (0, 99)), ("100-", (100, size - 1)), ("-7", (size - 7, size - 1)),
                        (f"5-{size * 2}", (5, size - 1)), ("0-0", (0, 0))):  # fmt: skip
        answer = client.get("/audio", params={"id": name}, headers={"Range": f"bytes={given}"})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {part[0]}-{part[1]}/{size}"
        assert answer.content == whole.content[part[0] : part[1] + 1]
        assert int(answer.headers["content-length"]) == len(answer.content)
    for given in (f"{size}-", "-0", f"{10**30}-"):
        answer = client.get("/audio", params={"id": name}, headers={"Range": f"bytes={given}"})
        assert answer.status_code == 416 and answer.content == b""
        assert answer.headers["content-range"] == f"bytes */{size}"
    for given in ("bytes=5-2", "bytes=0-1,3-4", "bytes=x", "items=0-1", "bytes=-", "bytes= 0-1x"):
        answer = client.get("/audio", params={"id": name}, headers={"Range": given})
        assert answer.status_code == 200 and answer.content == whole.content


def test_digits_of_other_scripts_are_no_range():
    assert asked_part("bytes=٠-٩", 100) is None


def test_a_sound_that_is_gone_is_told_in_its_row_and_the_others_play(heard, tmp_path):
    home = shutil.copytree(heard.parents[1], tmp_path / "home")
    (home / "audio" / "03a01Fa.opus").unlink()
    table = review_table(home / "runs" / "heard", [f"data.manifest={home}/m.csv"])
    client = TestClient(review_app(table, "t"), base_url="http://127.0.0.1:1", headers=HEADERS)
    answer = client.get("/audio?id=03a01Fa")
    assert answer.status_code == 404
    assert answer.json() == {"error": "this sound cannot be played: missing: no such file"}
    assert client.get("/audio?id=03a01Nc").status_code == 200
    assert client.get("/api/row?id=03a01Fa").json()["said"]


def test_a_part_of_a_long_file_and_an_odd_format_play_as_wav(tmp_path, store):
    """Rows with start and end; a float WAV of two channels at 44.1 kHz."""
    wave = np.stack([speech(6.0), speech(6.0)], 1)
    soundfile.write(tmp_path / "long.wav", wave, 44_100, subtype="DOUBLE")
    lines = ["id,audio,start,end,label,speaker"]
    for n in range(16):
        label = "" if n % 4 == 3 else "ab"[n % 2]
        lines.append(f"u{n},long.wav,{n * 0.1:.1f},{n * 0.1 + 0.5:.1f},{label},s{n % 4}")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    words = ["encoders.text.model=none", "data.test_fraction=0", "data.labeled_fraction=1.0",
             "rounds.max_rounds=0"]  # fmt: skip
    config = semi.load_config(None, [*run_settings(tmp_path, store), *words])
    semi.self_train(config, progress=False)
    _, client = opened(tmp_path / "runs" / "heard")
    for n in (0, 7, 15):
        answer = client.get(f"/audio?id=u{n}")
        samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        wanted = load_audio(tmp_path / "long.wav", start=n * 0.1, end=n * 0.1 + 0.5)
        assert rate == 16_000 and len(samples) == len(wanted) == 8000
        assert np.abs(samples - wanted).max() < 1e-4
