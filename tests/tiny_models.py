"""Folders of tiny random encoders that can learn, for tests of an adaptation."""

from tiny_speech import tiny

KINDS = ("hubert-base", "hubert-large", "whisper")


def write_models(folder):
    """Writes an encoder of each kind, without dropout so that numbers can be compared."""
    for name in KINDS:
        model = tiny(name)
        for key, value in vars(model.config).items():
            if "dropout" in key and isinstance(value, float):
                setattr(model.config, key, 0.0)
        model.save_pretrained(folder / name)
    return folder
