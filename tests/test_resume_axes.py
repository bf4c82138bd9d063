"""A begun run goes on with the axes that gold chose for it, unless the user names others."""

from dataclasses import replace

import pytest

from semi.config.schema import Config, save
from semi.data.config import DataConfig
from semi.errors import RunError
from semi.self_training.resumed import refuse_other_settings, taken_over


@pytest.fixture
def begun(tmp_path):
    """Returns the folder of a run that decided on stretched axes, and what the user asked for."""
    (tmp_path / "t.csv").write_text("id,text\na,hello\n")
    asked = Config(recipe="auto", data=DataConfig(manifest=str(tmp_path / "t.csv")))
    chosen = replace(asked, contrast=replace(asked.contrast, axes=3.0))
    save(chosen, tmp_path / "config.yaml")
    (tmp_path / "recipe.txt").write_text("stretched they are")
    return tmp_path, asked


def test_stretched_axes_hold_for_the_run_that_chose_them(begun):
    path, asked = begun
    assert taken_over(path, asked).contrast.axes == 3.0


def test_axes_that_the_user_names_are_not_overruled(begun):
    path, asked = begun
    named = replace(asked, given=["contrast.axes"])
    assert taken_over(path, named).contrast.axes == 0.0
    with pytest.raises(RunError, match=r"contrast\.axes was 3\.0, now 0\.0"):
        refuse_other_settings(path, taken_over(path, named))


def test_a_run_that_had_not_decided_decides_anew(begun):
    path, asked = begun
    (path / "recipe.txt").unlink()
    (path / "round-00").mkdir()
    assert taken_over(path, asked).contrast.axes == 0.0
