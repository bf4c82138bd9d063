"""The names of the encoders that need no weights, and what is nearly one of them."""

from __future__ import annotations

import difflib

from .base import EncoderUnavailable

BUILT_IN = {
    "speech": ("acoustic", "egemaps", "precomputed", "none"),
    "text": ("char-ngram", "precomputed", "none"),
}
CLOSE = 0.75  # of difflib's ratio; "nomic" is not "none", "acoustc" is "acoustic"


def refuse_near_miss(model: str, setting: str) -> None:
    """Raises EncoderUnavailable where a name is a built-in one misspelt, or of the other modality.

    `setting` is the dotted key, such as encoders.speech.model. Names with a slash are the hub's.
    """
    modality = setting.split(".")[1]
    known = BUILT_IN.get(modality, ())
    plain = model.strip().lower().replace("_", "-")
    if "/" in model or not known:
        return
    close = difflib.get_close_matches(plain, known, n=1, cutoff=CLOSE)
    if close:
        raise EncoderUnavailable(
            f"{setting}={model} is not the name of an encoder; did you mean {close[0]}? built in "
            f"are {', '.join(known)}; anything else is a folder, a file or a Hugging Face name"
        )
    for other, names in BUILT_IN.items():
        if plain in names and other != modality:
            raise EncoderUnavailable(
                f"{setting}={model}: {plain} reads {other}, so it is a value of "
                f"encoders.{other}.model; built in for {modality} are {', '.join(known)}"
            )
