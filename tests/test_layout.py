"""The layout of an encoder on a CPU: measured for much sound, remembered, the same numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_speech import encoder, speech, tiny

from models.encoders import layout
from semi.features.fill import Hands, fill
from semi.features.keys import FileKeys
from semi.features.sources import Limits, audio_source
from semi.features.store import FeatureStore

HOUR = 3600.0


def test_rows_stay_unless_another_layout_is_clearly_cheaper():
    assert layout.chosen({"rows": 1.0, "plain": 0.97, "packed": 1.2}) == "rows"
    assert layout.chosen({"rows": 1.0, "plain": 0.90, "packed": 0.8}) == "packed"
    assert layout.chosen({"rows": 2.0, "plain": 1.0, "packed": 1.1}) == "plain"


def test_what_was_measured_first_holds_for_such_a_machine_and_no_other(tmp_path):
    first = {"rows": 1.0, "plain": 0.5, "packed": 2.0}
    assert layout.recall(tmp_path / "store", "hubert; EPYC") == ""
    assert layout.remember(tmp_path / "store", "hubert; EPYC", first) == "plain"
    later = {"rows": 1.0, "plain": 2.0, "packed": 0.5}
    assert layout.remember(tmp_path / "store", "hubert; EPYC", later) == "plain"
    assert layout.recall(tmp_path / "store", "hubert; EPYC") == "plain"
    assert layout.recall(tmp_path / "store", "hubert; Xeon") == ""
    (file,) = (tmp_path / "store").iterdir()
    assert json.loads(file.read_text())["cpu_seconds"] == first


@pytest.mark.parametrize("content", ["", "[]", "{", '{"of": "x", "layout": "sideways"}', "\xff"])
def test_a_damaged_memory_costs_a_measurement_and_no_more(content, tmp_path):
    layout.remember(tmp_path, "x", {"rows": 1.0, "plain": 0.5, "packed": 2.0})
    (file,) = tmp_path.iterdir()
    file.write_text(content, encoding="latin-1")
    assert layout.recall(tmp_path, "x") == ""
    assert layout.remember(tmp_path, "x", {"rows": 1.0, "plain": 2.0, "packed": 2.0}) == "rows"


def test_a_folder_that_cannot_be_written_only_costs_the_next_measurement(tmp_path):
    (tmp_path / "file").write_text("")
    seconds = {"rows": 1.0, "plain": 2.0, "packed": 0.5}
    assert layout.remember(tmp_path / "file", "x", seconds) == "packed"


@pytest.mark.parametrize(
    "name", ["hubert-base", "hubert-large", "wavlm-base", "w2v-bert", "whisper"]
)
def test_every_layout_gives_the_same_numbers(name):
    model, sounds = tiny(name), speech(3)
    rows, *others = (encoder(model, layout=kind).encode(sounds) for kind in layout.MEASURED)
    for other in others:
        torch.testing.assert_close(other, rows, atol=1e-5, rtol=0)


def test_a_layout_is_measured_once_and_told_in_one_line(tmp_path):
    model, sounds = tiny("hubert-base"), speech(2)
    usual = encoder(model, layout="rows").encode(sounds)
    first, second = encoder(model), encoder(model)
    told = first.settle_layout(tmp_path, HOUR)
    assert told.startswith(f"layout {first.layout}: CPU-seconds were rows 0.") and "\n" not in told
    again = second.settle_layout(tmp_path, HOUR)
    assert again.startswith(f"layout {first.layout}, as measured before on this machine")
    assert second.layout == first.layout
    torch.testing.assert_close(second.encode(sounds), usual, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kept", layout.MEASURED)
def test_what_is_remembered_is_followed(kept, tmp_path):
    ours, sounds = encoder(tiny("hubert-base")), speech(2)
    usual = ours.encode(sounds)
    what = f"hubert, 3 x 24, layers to 3; {layout.machine()}"
    layout.remember(tmp_path, what, {"rows": 1.0, "plain": 2.0, "packed": 2.0} | {kept: 0.5})
    assert ours.settle_layout(tmp_path, HOUR).startswith(f"layout {kept}, as measured before")
    assert ours.layout == kept
    torch.testing.assert_close(ours.encode(sounds), usual, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "precision", "seconds"),
    [({"layout": "rows"}, "fp32", HOUR), ({"layout": "packed"}, "fp32", HOUR), ({}, "bf16", HOUR),
     ({}, "fp32", 60.0)],
)  # fmt: skip
def test_nothing_is_measured_where_it_would_not_pay(settings, precision, seconds, tmp_path):
    ours = encoder(tiny("hubert-base"), precision, **settings)
    assert ours.settle_layout(tmp_path, seconds) == "" and not list(tmp_path.iterdir())
    assert ours.layout == settings.get("layout", "rows")


def test_a_few_more_sounds_are_encoded_as_those_before_them(tmp_path):
    """Layouts round differently: one store holds the vectors of one."""
    first = encoder(tiny("hubert-base"))
    assert first.settle_layout(tmp_path, HOUR)
    later = encoder(tiny("hubert-base"))
    assert later.settle_layout(tmp_path, 1.0).startswith(f"layout {first.layout}, as measured")
    assert later.layout == first.layout


def test_an_extraction_of_much_sound_says_which_layout_it_takes(tmp_path, capsys):
    from semi.data.waveforms import Waveform

    sound = Waveform("a", speech(1)[0][:, None], 16_000)
    table = {"id": ["a"], "audio": [sound], "text": [None]}
    source = replace(audio_source(table, FileKeys(), Limits()), size=lambda row: HOUR)
    ours, store = encoder(tiny("hubert-base")), FeatureStore(tmp_path / "store")
    shelf = store.shelf("speech", ours.identity())
    fill(shelf, source, ours, Hands(1), progress=True)
    told = [line for line in capsys.readouterr().err.splitlines() if "layout" in line]
    assert len(told) == 1 and told[0].startswith(f"speech: layout {ours.layout}: CPU-seconds were")
    assert len(list((tmp_path / "store").glob("layout-*.json"))) == 1
    assert np.isfinite(shelf.get(source.keys)).all()
