"""An adaptation of encoders that is killed when its first checkpoint has been written."""

import pytest

from semi.training.finetune import checkpoint
from semi.training.finetune.finetune import finetune


def killed_adaptation(config):
    """Runs `finetune` up to its first checkpoint."""
    save = checkpoint.save

    def save_and_die(*args):
        save(*args)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            finetune(config, progress=False)
