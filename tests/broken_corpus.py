"""A table of some bundled recordings and of a file that is no sound."""

import pandas as pd

from semi.data.corpora import bundled_emodb


def broken_corpus(folder, every, most=None):
    """Writes one recording in `every`, at most `most`, and the broken one; returns the table."""
    table = pd.read_csv(bundled_emodb(), dtype=str)[::every][:most]
    table["audio"] = [str(bundled_emodb().parent / name) for name in table["audio"]]
    (folder / "broken.wav").write_bytes(b"this is no sound")
    broken = table.iloc[:1].assign(id="broken", audio=str(folder / "broken.wav"))
    pd.concat([table, broken]).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"
