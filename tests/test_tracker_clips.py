"""What TensorBoard plays of a pick is what the model heard: the segment, not its whole file."""

import io

import numpy as np
import pandas as pd
import soundfile
from event_files import event_values
from golden_runs import BOTH, TINY, write_small

import semi


def clips(folder):
    """Returns the seconds of each sound in the event files of a folder."""
    found = []
    for _, value in event_values(folder):
        if value.WhichOneof("value") == "audio":
            found.append(soundfile.info(io.BytesIO(value.audio.encoded_audio_string)))
    return [info.duration for info in found]


def test_a_clip_is_the_segment_of_its_row(tmp_path):
    write_small(tmp_path)
    table = pd.read_csv(tmp_path / "manifest.csv", dtype=str)
    table["label"] = table["label"].str.split(";").str[0]
    table["start"], table["end"] = 0.25, 0.75
    table.drop(columns=["votes"]).to_csv(tmp_path / "segments.csv", index=False)
    words = [word for word in [*TINY, *BOTH] if not word.startswith("tracking")]
    config = semi.load_config(None, [
        *words, "name=a", f"runs_dir={tmp_path / 'runs'}", f"features.store={tmp_path / 'store'}",
        f"data.manifest={tmp_path / 'segments.csv'}", "data.allow_leaks=[text]", "tracking=true",
        "data.labeled_fraction=0.5", "select.rule=threshold", "select.threshold=0.3",
    ])  # fmt: skip
    run = semi.self_train(config, progress=False).path
    seconds = clips(run / "tb" / "rounds")
    assert seconds and np.allclose(seconds, 0.5, atol=0.01)
