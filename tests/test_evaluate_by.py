"""`semi evaluate RUN --by ...` on real speech: groups of any column, or of what is measured."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from spoken_run import copied

import semi
from semi.cli import main
from semi.data.audio import load_audio
from semi.data.config import DataConfig
from semi.data.corpora import bundled_emodb
from semi.data.manifest import load_manifest
from semi.data.noisiness import snr_of
from semi.errors import RunError
from semi.runs.evaluate_by import evaluate_by
from semi.runs.group_columns import NO_VALUE, group_column
from semi.self_training.report import report


def test_groups_on_the_command_line(heard, tmp_path, capsys):
    """Every group of the held-out rows is told, the table is kept, and the report shows it."""
    run = copied(heard, tmp_path)
    words = ["--by", "speaker,sex,language,snr", "-o", str(tmp_path / "g.parquet")]
    assert main(["evaluate", str(run), *words]) == 0
    out = capsys.readouterr().out
    whole = semi.evaluate(run).metrics
    assert f"macro-F1 {100 * whole['macro_f1']:.1f} [" in out
    assert "snr is measured from the sounds (NIST's quick estimate)" in out
    assert "Not tested: fewer than 10 other rows." in out  # all of them are German
    kept = pd.read_csv(run / "groups.csv")
    for column, part in kept.groupby("column"):
        assert part["rows"].sum() == whole["rows"], column
        large = part[part["rows"] >= 10]["macro_f1"].tolist()
        assert large == sorted(large), column  # the worst first
    assert len(pd.read_parquet(tmp_path / "g.parquet")) == len(kept)
    assert main(["verify", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert '<h2 id="groups">' in page and "By snr, gold held-out test rows" in page
    assert main(["evaluate", str(run)]) == 0  # a run with the table is still as it was written


def test_a_table_that_was_changed_is_not_shown(heard, tmp_path):
    """The report believes no group table but the one that was written."""
    run = copied(heard, tmp_path)
    evaluate_by(run, ["sex"])
    (run / "groups.csv").write_text((run / "groups.csv").read_text().replace("test", "tost"))
    with pytest.raises(RunError, match=r"groups\.csv is not as it was written; delete it"):
        report(run)


def test_out_of_fold_rows_and_dev_rows(heard, tmp_path):
    """The split is that of semi evaluate; one without gold rows is a sentence."""
    done = evaluate_by(copied(heard, tmp_path), ["sex"], "oof")
    assert done.rows == semi.evaluate(heard, "oof").metrics["rows"]
    with pytest.raises(RunError, match="has no gold row in the split dev"):
        evaluate_by(copied(heard, tmp_path / "again"), ["sex"], "dev")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--by", "sexx"],
            "has no column sexx; did you mean 'sex'?; rows can be told apart by id,",
        ),
        (["--by", "sex,Geschlecht"], "has no column Geschlecht; rows can be told apart by"),
        (["--by", "session"], "has no column session; "),  # there, but without a cell
        (["--by", ","], "--by names no column; name some, as in --by speaker,sex,duration"),
        (["-o", "x.csv"], "-o is for the table of --by; say by what"),
        (["--by", "sex", "--reviews", "r.csv"], "give one of them"),
        (["--by", "sex", "-o", "x.docx"], "cannot write '.docx'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(heard, words, sentence, capsys):
    """Nothing is written, and the status is 2."""
    assert main(["evaluate", str(heard), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("semi: error: ") and error.count("\n") == 1 and sentence in error
    assert not (heard / "groups.csv").exists()


def test_another_table_is_refused(heard, tmp_path, capsys):
    """Values of another table would be put to the wrong rows."""
    table = tmp_path / "m.csv"
    text = Path(heard).parents[1].joinpath("m.csv").read_text()
    table.write_text(text + text.splitlines()[1].replace("03a01Fa", "x", 1) + "\n")
    run = copied(heard, tmp_path)
    words = [f"data.manifest={table}", f"data.audio_root={Path(heard).parents[1]}"]
    assert main(["evaluate", str(run), "--by", "sex", *words]) == 2
    assert "SHA-256" in capsys.readouterr().err


def _manifest(folder, **columns):
    """Returns the manifest of 40 texts with further columns."""
    rows = {"id": [f"u{k}" for k in range(40)], "text": [f"wort {k}" for k in range(40)]}
    rows |= {"label": ["joy", "anger"] * 20} | columns
    path = Path(folder, "m.csv")
    pd.DataFrame(rows).to_csv(path, index=False)
    return load_manifest(path, DataConfig())


def test_numbers_are_cut_into_quarters_of_the_rows(tmp_path):
    """Bounds are shown, missing numbers are a group, and every row is in one."""
    ages = [*range(20, 56), "", "NA", "", "-"]
    found = group_column(_manifest(tmp_path, age=[*ages[:39], 56]), "age", np.arange(40))
    assert found.order == [
        "20 to below 29",
        "29 to below 38",
        "38 to below 47",
        "47 to 56",
        NO_VALUE,
    ]
    counts = [int((found.values == name).sum()) for name in found.order]
    assert sum(counts) == 40 and counts[-1] == 3 and max(counts[:4]) - min(counts[:4]) <= 2
    words = group_column(_manifest(tmp_path, age=ages), "age", np.arange(40))
    assert "-" in words.order  # a word among the numbers: all are taken as they stand


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        ([3, 1, 10, 2] * 10, ["1", "2", "3", "10"]),  # few numbers are groups, in their order
        ([1.0, 2.5] * 20, ["1.0", "2.5"]),
        (["f", "m", "", "M"] * 10, ["M", "f", "m", NO_VALUE]),
        ([1e9 + k for k in range(40)], 4),  # bounds with as many digits as tell them apart
        ([0] * 31 + list(range(1, 10)), 1),  # one value in most rows
        ([f"w{k}" for k in range(40)], 40),
    ],
)
def test_groups_of_other_columns(tmp_path, cells, order):
    """Every value is a group of its own unless there are many numbers."""
    found = group_column(_manifest(tmp_path, kind=cells), "kind", np.arange(40))
    assert found.order == order if isinstance(order, list) else len(found.order) == order
    assert set(found.values.tolist()) == set(found.order)


def test_names_of_people_are_never_cut(tmp_path):
    """Speakers called 1 to 20 are twenty speakers; the table's own header finds them, too."""
    manifest = _manifest(tmp_path, actor=[k % 20 for k in range(40)])
    assert len(group_column(manifest, "speaker", np.arange(40)).order) == 20
    assert group_column(manifest, "actor", np.arange(40)).order[9] == "9"


def test_duration_is_measured_or_read(tmp_path):
    """A column wins over the sound, and under the name that the table gives it."""
    manifest = _manifest(tmp_path, duration=[0.5 + k / 10 for k in range(40)])
    found = group_column(manifest, "duration", np.arange(40))
    assert found.order[0] == "0.5 to below 1.5 s" and not found.notes
    with pytest.raises(RunError, match="none of 40 rows has a sound that can be read, so snr"):
        group_column(manifest, "snr", np.arange(40))


def test_a_sound_that_is_gone_is_a_group(tmp_path):
    """Rows without a sound are counted, not lost."""
    whole = pd.read_csv(bundled_emodb(), dtype=str, keep_default_na=False).head(12)
    shutil.copytree(bundled_emodb().parent / "audio", tmp_path / "audio")
    whole.to_csv(tmp_path / "m.csv", index=False)
    Path(tmp_path, whole["audio"][3]).unlink()
    manifest = load_manifest(tmp_path / "m.csv", DataConfig(), sounds=False)
    found = group_column(manifest, "snr", np.arange(12), workers=2)
    assert int((found.values == NO_VALUE).sum()) == 1
    assert found.notes[0].endswith("; 1 row has none that can be read")


def test_louder_noise_is_a_lower_ratio(tmp_path):
    """Real speech under white noise: the estimate falls with the ratio, whatever the loudness."""
    sound = load_audio(bundled_emodb().parent / "audio" / "03a01Fa.opus")
    noise = np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    noise *= np.sqrt(np.mean(sound**2))
    found = [snr_of(sound + noise * 10 ** (-ratio / 20)) for ratio in (30, 20, 10, 0)]
    assert found == sorted(found, reverse=True) and found[0] - found[-1] > 10
    assert snr_of(sound / 4) == pytest.approx(snr_of(sound), abs=0.1)
    assert np.isfinite(snr_of(np.zeros(10, np.float32)))
    soundfile.write(tmp_path / "x.wav", sound, 16_000)
