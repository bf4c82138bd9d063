"""Extraction: what is encoded, found again, quarantined or refused, and what is said of it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from noise_corpus import Fake, FakeText, noise_table, tree, write_noise

from semi.cli import main
from semi.data.audio_decoders import SAMPLE_RATE
from semi.errors import EncoderError
from semi.features.extract import Extraction, extract_rows, open_encoders
from semi.features.quarantine import read_quarantine
from semi.features.sources import Limits
from semi.features.store import FeatureStore


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def table(corpus):
    return noise_table(corpus)


def test_what_is_stored_is_not_encoded_again(table, tmp_path):
    store = FeatureStore(tmp_path)
    first = extract_rows(table, {"speech": Fake()}, store, progress=False)
    encoder = Fake()
    again = extract_rows(table, {"speech": encoder}, store, progress=False)
    assert encoder.batches == []
    count = first.modalities["speech"]
    assert (count.rows, count.done, count.cached, count.quarantined) == (27, 25, 0, 2)
    count = again.modalities["speech"]
    assert (count.rows, count.done, count.cached, count.quarantined) == (27, 0, 25, 2)
    assert count.audio_seconds == pytest.approx(sum(0.2 + 0.05 * i for i in range(24)) + 0.2, 1e-3)


def test_identical_files_are_encoded_once(table, tmp_path):
    encoder = Fake()
    extract_rows(table, {"speech": encoder}, FeatureStore(tmp_path), progress=False)
    assert sum(encoder.batches) == 24


def test_more_rows_later_only_add_and_a_copy_elsewhere_is_known(table, corpus, tmp_path):
    store = FeatureStore(tmp_path / "s")
    extract_rows(table[:10], {"speech": Fake()}, store, progress=False)
    copied = tmp_path / "copy.wav"
    copied.write_bytes((corpus / "3.wav").read_bytes())
    more = pd.concat([table[:24], pd.DataFrame({"id": ["x"], "audio": [str(copied)]})])
    encoder = Fake()
    extract_rows(more, {"speech": encoder}, store, progress=False)
    assert sum(encoder.batches) == 14
    whole = FeatureStore(tmp_path / "whole")
    extract_rows(table[:24], {"speech": Fake()}, whole, progress=False)
    (one,), (two,) = store.shelves(), whole.shelves()
    np.testing.assert_array_equal(one.open().data, two.open().data)


def test_an_extraction_in_which_no_id_matches_is_an_error(tmp_path, capsys):
    np.savez(tmp_path / "v.npz", id=np.array(["x", "y"]), v=np.ones((2, 3), np.float32))
    lines = [f"u{k},hallo {k},{'ab'[k % 2]}" for k in range(8)]
    (tmp_path / "m.csv").write_text("id,text,label\n" + "\n".join(lines) + "\n")
    words = ["encoders.speech.model=precomputed", f"encoders.speech.path={tmp_path}/v.npz"]
    given = [*words, f"data.manifest={tmp_path}/m.csv", f"features.store={tmp_path}/store"]
    assert main(["extract", *given]) == 2
    assert "encoders.speech: no id of " in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_listed_with_its_reason(table, tmp_path):
    result = extract_rows(table, {"speech": Fake()}, FeatureStore(tmp_path), progress=False)
    broken, gone = result.quarantine
    assert (broken.id, Path(broken.path).name) == ("24", "broken.wav")
    assert broken.reason.startswith("unreadable: ")
    assert (gone.id, gone.reason) == ("25", "the file cannot be read: No such file or directory")
    result.write_quarantine(tmp_path / "quarantine.csv")
    listed = pd.read_csv(tmp_path / "quarantine.csv", dtype=str)
    assert listed["id"].tolist() == ["24", "25"]
    assert list(listed.columns) == ["id", "path", "reason"]


def test_a_repaired_file_leaves_the_quarantine(tmp_path):
    path = tmp_path / "a.wav"
    table = pd.DataFrame({"id": ["a"], "audio": [str(path)]})
    store = FeatureStore(tmp_path / "s")
    path.write_bytes(b"")
    assert len(extract_rows(table, {"speech": Fake()}, store, progress=False).quarantine) == 1
    soundfile.write(path, 0.1 * np.sin(np.arange(SAMPLE_RATE)), SAMPLE_RATE)
    result = extract_rows(table, {"speech": Fake()}, store, progress=False)
    assert (result.done, result.quarantine) == (1, [])


def test_one_bad_item_costs_only_itself(table, tmp_path):
    class Picky(Fake):
        def encode(self, batch):
            if any(len(x) == SAMPLE_RATE * 0.25 for x in batch):
                raise RuntimeError("kernel larger than input")
            result = super().encode(batch)
            result[[len(x) == SAMPLE_RATE * 0.3 for x in batch]] = np.nan
            return result

    store = FeatureStore(tmp_path)
    result = extract_rows(table[:24], {"speech": Picky()}, store, progress=False)
    reasons = {q.id: q.reason for q in result.quarantine}
    assert reasons == {
        "1": "the encoder refused it: kernel larger than input",
        "2": "the encoder gave NaN or infinite numbers",
    }
    assert len(read_quarantine(store.shelves()[0])) == 2


def test_an_encoder_that_fails_on_everything_is_not_blamed_on_the_files(table, tmp_path):
    class Broken(Fake):
        def encode(self, batch):
            raise RuntimeError("no kernel image")

    with pytest.raises(EncoderError, match=r"The speech encoder failed \(RuntimeError: no kernel"):
        extract_rows(table, {"speech": Broken()}, FeatureStore(tmp_path), progress=False)


def test_parts_of_a_file_are_items_of_their_own(corpus, tmp_path):
    path = str(corpus / "23.wav")
    table = pd.DataFrame(
        {
            "id": ["whole", "first", "second", "again"],
            "audio": [path] * 4,
            "start": [np.nan, 0.0, 0.5, 0.5],
            "end": [np.nan, 0.5, 1.0, 1.0],
        }
    )
    encoder, store = Fake(), FeatureStore(tmp_path)
    extract_rows(table, {"speech": encoder}, store, progress=False)
    assert sum(encoder.batches) == 3
    assert sorted(store.shelves()[0].open().seconds.tolist()) == pytest.approx([0.5, 0.5, 1.35])


def test_sounds_outside_todays_limits_do_not_count_though_they_are_stored(table, tmp_path):
    store = FeatureStore(tmp_path)
    extract_rows(table[:24], {"speech": Fake()}, store, progress=False)
    limits = Limits(0.1, 1.0)
    result = extract_rows(table[:24], {"speech": Fake()}, store, limits=limits, progress=False)
    assert len(result.quarantine) == 7
    assert result.quarantine[-1].reason == "too long: 1.35 s, data.max_seconds is 1"
    fresh = FeatureStore(tmp_path / "fresh")
    other = extract_rows(table[:24], {"speech": Fake()}, fresh, limits=limits, progress=False)
    assert [q.id for q in other.quarantine] == [q.id for q in result.quarantine]


def test_blank_texts_lack_the_modality(tmp_path):
    table = pd.DataFrame({"id": list("abcd"), "text": ["안녕", None, "  ", "안녕"]})
    result = extract_rows(table, {"text": FakeText()}, FeatureStore(tmp_path), progress=False)
    count = result.modalities["text"]
    assert (count.rows, count.done, count.quarantined) == (2, 2, 0)


def test_the_key_changes_with_the_numbers_and_with_nothing_else(table, tmp_path):
    store = FeatureStore(tmp_path)
    one = store.shelf("speech", {"model": "a", "layers": [1, 2]})
    assert one.folder == store.shelf("speech", {"layers": [1, 2], "model": "a"}).folder
    assert one.folder != store.shelf("speech", {"model": "a", "layers": [2, 1]}).folder
    assert one.folder != store.shelf("text", {"model": "a", "layers": [1, 2]}).folder
    encoder = Fake("b")
    extract_rows(table, {"speech": Fake("a")}, store, progress=False)
    extract_rows(table, {"speech": encoder}, store, progress=False)
    assert sum(encoder.batches) == 24


def test_without_a_screen_progress_is_a_few_plain_lines(table, tmp_path, capsys):
    extract_rows(table, {"speech": Fake()}, FeatureStore(tmp_path))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "extract speech: 19 s of sound to do"
    assert lines[1].startswith("extract speech: 19 s of sound done in ")
    assert len(lines) == 2


def test_encoders_that_are_not_set_are_an_error_in_one_sentence():
    from models.encoders import SpeechConfig, TextConfig
    from semi.config.schema import Config
    from semi.features.config import EncodersConfig

    config = Config()  # not loaded: loading would have refused it
    config.encoders = EncodersConfig(SpeechConfig(model="none"), TextConfig(model="none"))
    with pytest.raises(EncoderError, match=r"^No encoder is set"):
        open_encoders(config)
    assert Extraction().done == 0


def test_a_full_store_is_only_read(table, tmp_path, monkeypatch):
    store = FeatureStore(tmp_path)
    extract_rows(table[:24], {"speech": Fake()}, store, progress=False)

    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr("semi.features.store.Shelf.locked", forbidden)
    assert extract_rows(table[:24], {"speech": Fake()}, store, progress=False).cached == 24


def test_an_encoder_that_takes_sixteen_bits_is_given_them_and_stores_the_same(table, tmp_path):
    seen: set[str] = set()

    class Distant(Fake):
        takes_pcm = True

        def encode(self, batch):
            seen.update(str(wave.dtype) for wave in batch)
            floats = [w / np.float32(32_768) if w.dtype == np.int16 else w for w in batch]
            return super().encode(floats)

    near, far = FeatureStore(tmp_path / "near"), FeatureStore(tmp_path / "far")
    extract_rows(table, {"speech": Fake()}, near, progress=False)
    extract_rows(table, {"speech": Distant()}, far, progress=False)
    assert "int16" in seen
    assert tree(near.root) == tree(far.root)


def test_in_sixteen_bits_extraction_says_how_near_it_is_to_float32(corpus, tmp_path):
    from tiny_speech import tiny

    from semi.config.schema import load_config
    from semi.evaluation.text import extraction_words
    from semi.features.extract import extract

    tiny("whisper").save_pretrained(tmp_path / "model")
    names = [corpus / f"{i}.wav" for i in range(12)]
    table = pd.DataFrame(
        {"id": range(12), "audio": [str(n) for n in names], "label": ["a", "b"] * 6}
    )
    table.to_csv(tmp_path / "m.csv", index=False)

    def said(precision):
        words = [f"data.manifest={tmp_path / 'm.csv'}", f"features.store={tmp_path / 'store'}"]
        words += [f"encoders.speech.model={tmp_path / 'model'}", "encoders.text.model=none"]
        config = load_config(None, [*words, f"precision={precision}"])
        return extraction_words(extract(config, progress=False))[0]

    assert said("fp32") == "speech: 12 encoded, 0 in the store already"
    found = re.fullmatch(
        r"speech: 12 encoded, 0 in the store already; bf16: centred cosine to fp32 ([\d.]+) "
        r"\(least ([\d.]+)\) on 12 of them",
        said("bf16"),
    )
    assert found and 0.9 < float(found[2]) <= float(found[1]) < 1
    assert said("bf16") == "speech: 0 encoded, 12 in the store already"  # nothing new, nothing said
