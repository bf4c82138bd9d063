"""A corpus of noise with files that cannot be used, and encoders that cost nothing."""

import numpy as np
import pandas as pd
import soundfile

from semi.data.audio_decoders import SAMPLE_RATE


class Fake:
    """Numbers that follow from the sound alone, and a count of how often it was called."""

    modality = "speech"
    shape = (3,)

    def __init__(self, name="fake"):
        self.name, self.batches = name, []

    def identity(self):
        return {"name": self.name}

    def encode(self, batch):
        self.batches.append(len(batch))
        return np.stack([[len(x), x.mean(), x.std()] for x in batch]).astype(np.float32)


class FakeText(Fake):
    modality = "text"

    def encode(self, batch):
        self.batches.append(len(batch))
        return np.array([[len(t), t.count("a"), 1] for t in batch], np.float32)


def write_noise(folder):
    """Writes 24 sounds, a broken file, and a table of them, of one that is gone and one again."""
    random_numbers = np.random.default_rng(0)
    names = []
    for i in range(24):
        sound = 0.1 * random_numbers.normal(size=int(SAMPLE_RATE * (0.2 + 0.05 * i)))
        names.append(folder / f"{i}.wav")
        soundfile.write(names[-1], sound, SAMPLE_RATE)
    (folder / "broken.wav").write_bytes(b"this is no sound")
    names += [folder / "broken.wav", folder / "gone.wav", names[0]]
    table = pd.DataFrame({"id": range(len(names)), "audio": [str(name) for name in names]})
    table.to_csv(folder / "manifest.csv", index=False)
    return folder


def noise_table(folder):
    """Returns the table of `write_noise`."""
    table = pd.read_csv(folder / "manifest.csv")
    table["id"] = table["id"].astype(str)
    return table


def tree(root):
    """Returns the bytes of every file below a folder."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
