"""Which layers and modalities a recipe's student looks at: joined, quiet, chosen by gold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_dataset import tiny_dataset

from models.fusion import FusionConfig, build_fusion
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.self_training.pool_answers import pool_logits
from semi.self_training.rounds import choose, run_rounds, warm_start
from semi.self_training.state import of_held_out_groups
from semi.self_training.view_selection import candidates, select_views
from semi.training.projection import joined_axes, principal_start
from semi.training.students import learned_start
from semi.training.views import Views, layers_by_encoder, viewed
from semi.training.voter import Voter, can_speak


def auto(dataset, **sections):
    config = LearningConfig(recipe="auto", **sections)
    return resolved(config, len(dataset.gold), len(dataset.pool))[0]


def layered(dataset, layers=6, noise=0.5):
    """Returns the dataset with `layers` noisy copies of its speech beside text."""
    generator = torch.Generator().manual_seed(0)
    speech = dataset.values["speech"]
    values = {
        f"speech.{k}": speech + noise * torch.randn(speech.shape, generator=generator)
        for k in range(1, layers + 1)
    } | {"text": dataset.values["text"]}
    return replace(dataset, values=values, present=torch.ones(len(speech), layers + 1).bool())


def test_layers_are_told_by_their_numbers():
    names = ["speech.10", "text", "speech.9", "face.x"]
    assert layers_by_encoder(names) == {
        "speech": ["speech.9", "speech.10"], "text": ["text"], "face.x": ["face.x"]
    }  # fmt: skip


def test_a_view_is_its_layers_side_by_side_and_there_where_all_are():
    data = layered(tiny_dataset(), 2)
    data.present[3, 1] = False
    seen = viewed(data, Views({"speech": ["speech.1", "speech.2"], "text": ["text"]}))
    assert seen.dims == {"speech": 24, "text": 8} and seen.blocks == {"speech": 2}
    torch.testing.assert_close(seen.values["speech"][:, 12:], data.values["speech.2"])
    assert not seen.present[3, 0] and seen.present[3, 1] and seen.present[4].all()


def test_joined_layers_weigh_alike_whatever_their_scale():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(200, 10))).float()
    x = x - x.mean(0)
    loud = torch.cat([x, 1000 * x.flip(0)], 1)
    rows = loud @ joined_axes(loud, 8, 2)
    assert float(rows.square().mean()) == pytest.approx(1.0, abs=1e-3)
    quiet = torch.cat([x, x.flip(0)], 1)
    same = quiet @ joined_axes(quiet, 8, 2)  # but for the signs of axes
    torch.testing.assert_close(rows @ rows.T, same @ same.T, rtol=1e-2, atol=1e-2)
    share = [float((x @ joined_axes(loud, 8, parts)[:10]).square().mean()) for parts in (1, 2)]
    assert share[0] < 1e-3 < 0.1 < share[1]  # of one part the loud layer is all there is to see


def test_one_part_has_the_principal_axes_as_before():
    data = tiny_dataset()
    rows = torch.cat([data.gold, data.pool])
    one = principal_start(data.values, data.present, rows, 4)
    same = principal_start(data.values, data.present, rows, 4, {"speech": 1})
    assert all(torch.equal(one[k], same[k]) for k in one)


@pytest.mark.parametrize("kind", ["discriminant", "logistic", "contrastive_residual"])
def test_a_quiet_modality_is_heard_where_it_is_alone(kind):
    torch.manual_seed(0)
    model = build_fusion(FusionConfig(kind=kind, quiet=["text"]), {"speech": 6, "text": 5}, 3)
    for parameter in model.parameters():
        parameter.data.normal_()
    model.eval()
    inputs = {"speech": torch.randn(4, 6), "text": torch.randn(4, 5)}
    both, speech, text = (
        torch.tensor(here).expand(4, 2) for here in ([True, True], [True, False], [False, True])
    )
    with torch.no_grad():
        says = {n: model(inputs, here).logits for n, here in
                (("both", both), ("speech", speech), ("text", text))}  # fmt: skip
    torch.testing.assert_close(says["both"], says["speech"])
    assert not torch.allclose(says["text"], says["speech"], atol=1e-3)
    assert not torch.allclose(says["text"], model.prior.detach().expand(4, -1), atol=1e-3)


def test_names_of_quiet_modalities_are_checked():
    with pytest.raises(ValueError, match="quiet names face, but the modalities are speech, text"):
        build_fusion(FusionConfig(kind="logistic", quiet=["face"]), {"speech": 6, "text": 5}, 3)
    with pytest.raises(ValueError, match="quiet names every modality"):
        build_fusion(FusionConfig(kind="logistic", quiet=["speech"]), {"speech": 6}, 3)
    with pytest.raises(ValueError, match="quiet is of the kinds"):
        FusionConfig(kind="concat", quiet=["text"])


def test_what_is_compared_are_depths_and_single_modalities():
    names = [str(views) for views in candidates(layered(tiny_dataset()))]
    assert names[:4] == [
        "speech 1-6 + text",
        "speech 1-3 + text", "speech 1-3 (text where alone)", "text (speech where alone)",
    ]  # fmt: skip
    assert "speech 2-4 + text" in names and "speech 4-6 + text" in names and len(names) == 8
    few = [str(views) for views in candidates(layered(tiny_dataset(), 3))]
    assert few[0] == "speech 1-3 + text" and len(few) == 3
    assert [str(v) for v in candidates(tiny_dataset(views=1))] == ["speech"]


def test_gold_finds_the_layers_and_the_modality_that_tell_the_classes():
    data = layered(tiny_dataset(gold=60, pool=150, spread=0.9), noise=0.3)
    for layer in (4, 5, 6):
        data.values[f"speech.{layer}"].normal_(generator=torch.Generator().manual_seed(layer))
    found = select_views(data, auto(data))
    assert found.views is not None and len(found.standings) == 8
    best = max(found.standings, key=lambda name: found.standings[name])
    assert str(found.views) in (best, "speech 1-6 + text")
    assert found.views.parts["speech"] != ["speech.4", "speech.5", "speech.6"]
    assert found.config.model.quiet == found.views.quiet
    assert found.dataset.dims == {"speech": 12 * len(found.views.parts["speech"]), "text": 8}
    assert "out-of-fold after all rounds" in found.sentence


@pytest.mark.parametrize(("gold", "views"), [(60, "speech 1-3 + text"), (36, "speech 1-6 + text")])
def test_a_half_of_the_layers_must_stand_clearly_above_all_of_them(gold, views):
    data = layered(tiny_dataset(gold=gold, pool=150, spread=0.9), noise=0.3)
    for seed, name in enumerate(("speech.3", "speech.4", "speech.5", "speech.6", "text"), 3):
        data.values[name].normal_(generator=torch.Generator().manual_seed(seed + seed // 7 * 2))
    found = select_views(data, auto(data))
    best = max(found.standings, key=lambda name: found.standings[name])
    assert best.startswith("speech 1-3") and str(found.views) == views
    assert ("others had to stand" in found.sentence) == (best != views)


def test_without_a_recipe_or_with_another_kind_nothing_is_compared():
    data = tiny_dataset()
    assert select_views(data, LearningConfig(recipe="none")).views is None
    concat = auto(data, model=FusionConfig(kind="concat"))
    assert select_views(data, concat).views is None


def test_no_chain_learns_from_pool_rows_of_speakers_it_is_judged_on():
    data = tiny_dataset()
    data.fold[:] = torch.tensor([int(s[1]) % 3 for s in data.group[:36]])  # whole speakers
    held = of_held_out_groups(data)
    speakers = data.group[data.pool.numpy()]
    for fold in range(3):
        mine = set(data.group[data.gold.numpy()][(data.fold == fold).numpy()])
        assert held[fold].tolist() == [s in mine for s in speakers] and held[fold].any()
    assert not held[3].any()
    config = auto(data, model=FusionConfig(kind="discriminant"))
    state = warm_start(data, config, learned_start(data, config))
    picked, _ = choose(data, state, config, 1.0, 1)
    assert picked.chosen[3].all() and not (picked.chosen & held).any()
    assert float(picked.weight[:3][held[:3]].abs().sum()) == 0


def test_speakers_that_stand_in_several_folds_are_nobodys():
    data = tiny_dataset()
    data.fold[:] = torch.arange(36) % 3
    split = [len(set(data.fold[data.group[:36] == s].tolist())) > 1 for s in np.unique(data.group)]
    assert all(split) and not of_held_out_groups(data).any()


def test_the_rounds_of_a_recipe_run_on_what_was_chosen():
    data = layered(tiny_dataset())
    found = select_views(data, auto(data))
    outcome = run_rounds(found.dataset, found.config)
    assert outcome.final.ensemble is not None
    assert outcome.final.ensemble.dims == found.dataset.dims


def test_a_quiet_modality_has_no_vote_beside_others_and_one_alone():
    data = tiny_dataset()
    data.present[40, 0] = False  # a pool row of text alone
    config = auto(data, model=FusionConfig(kind="discriminant", quiet=["text"]))
    config = replace(config, rounds=replace(config.rounds, floor=False))
    state = warm_start(data, config, learned_start(data, config))
    voter = state.outputs.voter
    assert voter.quiet == ["text"] and Voter.from_state(voter.state_dict()).quiet == ["text"]
    here = torch.tensor([[True, True], [True, False], [False, True]])
    can = can_speak(voter.heads, here, voter.quiet)
    assert can.tolist() == [[True, True, False], [True, True, False], [True, False, True]]
    probs = voter.by_head(pool_logits(data, state)[-1])
    other = probs.clone()
    other[2] = other[2].flip(1)  # the text says something else
    before, after = (voter.vote(p, data.present[data.pool]) for p in (probs, other))
    torch.testing.assert_close(before[5:], after[5:])
    assert not torch.allclose(before[4], probs[1, 4])  # heard where alone
