"""The review page as one file, without a browser: which rows and sounds it holds."""

import base64
import io
import json
import re

import pytest
import soundfile
from spoken_run import copied

from semi.data.reviews import Review, append_reviews
from semi.review.static_page import write_static


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


def rows_of(path):
    """Returns the rows that a page holds."""
    text = path.read_text()
    return json.loads(re.search(r'id="rows"[^>]*>(.*?)</script>', text, flags=re.S).group(1))


def test_its_sounds_are_mp3_which_old_phones_play(run, tmp_path):
    page = tmp_path / "page.html"
    made = write_static(run, page)
    rows = rows_of(page)
    assert len(rows) == made.sounds == made.rows and "audio/mpeg" in page.read_text()
    for row in rows:
        sound = soundfile.SoundFile(io.BytesIO(base64.b64decode(row["mp3"])))
        assert (sound.format, sound.samplerate) == ("MP3", 16_000)
        assert 0.5 < sound.frames / 16_000 < 20
    assert f"{made.bytes / 1e6:.1f} MB" in str(made)


def test_rows_that_were_reviewed_are_left_out_and_counted(run, tmp_path):
    page = tmp_path / "page.html"
    write_static(run, page)
    first, second = (row["id"] for row in rows_of(page)[:2])
    append_reviews(run / "reviews.csv", [Review(first, "label", "anger", "Ann"),
                                         Review(second, "label", "anger", "Ben")])  # fmt: skip
    made = write_static(run, page, reviewer="Ann")
    ids = {row["id"] for row in rows_of(page)}
    assert first not in ids and second in ids
    assert "1 row left out: reviewed by Ann; --all takes them, too" in str(made)
    write_static(run, page, reviewer="Ann", again=True)
    assert first in {row["id"] for row in rows_of(page)}
