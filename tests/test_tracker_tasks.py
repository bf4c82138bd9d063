"""Every task and kind of model is shown: its own scores, and the vectors that it decides by."""

import pytest
import torch
from test_every_task import KINDS, write_manifest
from test_every_task import settings as of_task
from tracked_scalars import of_tensorboard
from two_runs import settings
from two_runs import write_manifest as write_texts

import semi
from models.fusion import FusionConfig
from semi.training.ensemble import Ensemble
from semi.training.vectors import fused_vectors

RULES = {"multi_label": "threshold", "joint_multi_label": "threshold", "affect": "spread",
         "joint": "class_topk"}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_is_shown_in_every_round(tmp_path, capsys, kind):
    write_manifest(tmp_path)
    words = ["tracking=true", "recipe=none", "rounds.max_rounds=1", f"select.rule={RULES[kind]}"]
    words += ["train.members=2", "select.threshold=0.4"]
    run = semi.self_train(of_task(tmp_path, kind, "a", *words), progress=False).path
    assert "shows nothing more" not in capsys.readouterr().err
    found = of_tensorboard(run)
    rounds = [step for step, _ in found["round/accepted"]]
    assert rounds == list(range(len(list(run.glob("round-*")))))
    score = "ccc" if kind == "affect" else "macro_f1"
    for name in (f"oof/{score}", f"test/{score}"):
        assert [step for step, _ in found[name]] == rounds and f"final/{name}" in found
    assert ("test/f1/joy" in found) == (kind != "affect")


def points_of(run):
    """Returns the width of the projector's points of each round."""
    home = run / "tb/rounds/projector"
    files = sorted(home.glob("round-*/*.tsv"))
    return {f.parent.name: (home / f.name).read_text().partition("\n")[0].count("\t") + 1
            for f in files}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "width"), [("low_rank", 8), ("cross_attention", 8), ("discriminant", 5)]
)
def test_the_projector_has_the_fused_vectors_or_the_principal_coordinates(tmp_path, kind, width):
    write_texts(tmp_path, rows=60)
    words = ["tracking=true", f"model.kind={kind}", "model.components=5", "rounds.accept_se=99",
             "rounds.min_change=0"]  # fmt: skip
    run = semi.self_train(settings(tmp_path, "a", *words), progress=False).path
    assert points_of(run) == {"round-00": width, "round-01": width}


def test_a_fused_vector_depends_on_its_row_and_missing_views_are_zeros():
    torch.manual_seed(0)
    values = {"a": torch.randn(6, 4), "b": torch.randn(6, 3)}
    present = torch.ones(6, 2, dtype=torch.bool)
    present[2, 1] = False
    for kind, width in (("gated", 16), ("logistic", 6)):
        config = FusionConfig(kind=kind, hidden=16, components=3)
        ensemble = Ensemble.create(config, {"a": 4, "b": 3}, 3, count=2, seed=0)
        found = fused_vectors(ensemble, values, present)
        assert found.shape == (6, width)
        alone = fused_vectors(ensemble, {k: v[2:3] for k, v in values.items()}, present[2:3])
        assert torch.allclose(found[2:3], alone, atol=1e-6)
    assert (found[2, 3:] == 0).all() and (found[2, :3] != 0).any()
