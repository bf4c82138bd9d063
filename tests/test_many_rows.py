"""What many rows are summed, scaled and put away by: the numbers of all of them at once."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

import semi
from models.fusion import FusionConfig
from semi.data import header_rows
from semi.data.delimited import read_records
from semi.features.config import FeaturesConfig
from semi.features.moments import moments, per_group
from semi.features.standardize import Standardizer
from semi.features.tensors import Features
from semi.files import read_table, read_tensors
from semi.self_training import floor, model_selection
from semi.self_training.pool_answers import pool_logits
from semi.self_training.rounds import warm_start
from semi.training import blocks
from semi.training.committee import Committee
from semi.training.students import closed_form, learned_start
from semi.training.students.discriminant import discriminant
from semi.training.students.taken import Taken, rows_of, whole


def drawn(rows, columns, *more):
    return torch.randn(rows, columns, *more, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("block", [1, 7, 100])
def test_gaussian_classes_of_blocks_are_those_of_all_rows(monkeypatch, block):
    views, present = [drawn(90, 5), drawn(91, 3)[:90]], torch.rand(90, 2) < 0.8
    target = drawn(3, 90, 4).softmax(2)
    weight = drawn(3, 90).abs()
    whole = discriminant(views, present, target, weight, 0.4, 0.5, 2.0)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", block)
    found = discriminant(views, present, target, weight, 0.4, 0.5, 2.0)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_a_block_at_a_time_takes_no_memory_for_all_rows_of_all_members(monkeypatch):
    asked = []

    def of(rows):
        asked.append(rows.stop - rows.start)
        return (torch.ones(rows.stop - rows.start).sum(),)

    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    assert blocks.summed(1000, of)[0] == 1000 and max(asked) == 64
    assert blocks.summed(0, of)[0] == 0


@pytest.mark.parametrize("repeat", [1, 2])
def test_rows_that_teach_are_copied_a_block_at_a_time(monkeypatch, repeat):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 16)
    values, shares = drawn(90, 5), drawn(91, 4, 3).permute(1, 0, 2)[:, :90].softmax(2)
    rows = torch.randperm(90, generator=torch.Generator().manual_seed(0))[:70]
    taken = Taken(values, rows), Taken(shares, rows, repeat)
    copies = values[rows], shares[:, rows].repeat_interleave(repeat, 0)
    for one, other in zip(taken, copies, strict=True):
        assert one.shape == other.shape and torch.equal(whole(one), other)
        assert torch.equal(rows_of(one, slice(3, 9)), other[..., 3:9, :])
    weight, here = drawn(4 * repeat, 70).abs(), torch.ones(70, 1)
    found, wanted = (
        discriminant([x], here, target, weight, 0.4, 0.5, 2.0) for x, target in (taken, copies)
    )
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("rows", [1, 300, 257 * 70])
def test_moments_of_some_rows_are_those_of_a_copy_of_them(rows):
    values = drawn(20_000, 3) * 2 + 5
    some = torch.randperm(20_000, generator=torch.Generator().manual_seed(0))[:rows].sort().values
    groups = torch.arange(20_000) % 4
    for found, expected in zip(
        moments(values, groups[some], 4, some), moments(values[some], groups[some], 4), strict=True
    ):
        assert torch.equal(found, expected)
    mean, variance = torch.zeros(3).double(), torch.ones(3).double()
    own = torch.where(groups == 2, -1, groups)
    for found, expected in zip(
        per_group(values, own[some], 4, mean, variance, 3.0, some),
        per_group(values[some], own[some], 4, mean, variance, 3.0),
        strict=True,
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("mode", ["global", "speaker"])
def test_scaling_is_learned_without_a_copy_of_the_rows(mode):
    rows, dims = 40_000, 64
    values = np.random.default_rng(0).normal(size=(rows, dims)).astype(np.float32)
    features = Features({"speech": torch.from_numpy(values)}, torch.ones(rows, 1).bool())
    learn = torch.arange(rows) % 5 > 0
    speakers = [f"s{i % 9}" for i in range(rows)]
    about = FeaturesConfig(standardize=mode, speaker_shrink=0.0)
    fitted = Standardizer.fit(features, learn, about, speakers)
    used = values[learn.numpy()].astype(np.float64)
    profile = fitted.profiles["speech"]
    np.testing.assert_allclose(profile.mean, used.mean(0), atol=1e-6)
    np.testing.assert_allclose(profile.std, used.std(0), atol=1e-6)
    if mode == "speaker":
        own = used[[s == "s3" for s, u in zip(speakers, learn.tolist(), strict=True) if u]]
        np.testing.assert_allclose(profile.speaker_mean[3], own.mean(0), atol=1e-5)


def test_axes_of_a_great_pool_are_learned_from_a_part_of_it(monkeypatch):
    dataset = tiny_dataset()
    config = tiny_config()
    config.model.kind = "discriminant"
    whole = learned_start(dataset, config)
    monkeypatch.setattr(closed_form, "MOST_AXES_ROWS", len(dataset.gold) + len(dataset.pool))
    assert all(torch.equal(v, whole[k]) for k, v in learned_start(dataset, config).items())
    monkeypatch.setattr(closed_form, "MOST_AXES_ROWS", 20)
    part = learned_start(dataset, config)
    assert not torch.equal(part["views.0.center"], whole["views.0.center"])
    order = torch.randperm(len(dataset.pool), generator=torch.Generator().manual_seed(1))
    dataset.pool = dataset.pool[order]  # which part it is follows from the ids alone
    for name, value in learned_start(dataset, config).items():
        torch.testing.assert_close(value, part[name], rtol=1e-4, atol=1e-5)


def test_a_round_put_away_says_what_it_said(tmp_path):
    lines = [
        f"u{i:03d},{'I am glad' if i % 2 else 'this is sad'} {i},"
        f"{('joy' if i % 2 else 'sorrow') if i < 30 else ''}"
        for i in range(60)
    ]
    (tmp_path / "m.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    words = [
        "recipe=none", "name=a", f"runs_dir={tmp_path}", f"data.manifest={tmp_path}/m.csv",
        f"features.store={tmp_path}/store", "encoders.speech.model=none", "track=[]", "threads=1",
        "model.kind=discriminant", "train.folds=2", "rounds.max_rounds=3", "rounds.accept_se=9",
    ]  # fmt: skip
    from semi.self_training import train
    from semi.self_training.rounds import run_rounds

    states = []

    def kept(*args, **more):
        outcome = run_rounds(*args, **more)
        states.extend(outcome.states)
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "run_rounds", kept)
        run = semi.self_train(semi.load_config(None, words), progress=False).path
    assert len(states) > 2
    for state in states:
        held = read_tensors(run / f"round-{state.number:02d}" / "state.safetensors")
        assert "pool_logits" not in held  # of a million rows it would be most of the folder
        if state.pseudo_labels is not None:
            assert torch.equal(state.pseudo_labels.label.long(), held["picked.label"].long())
            assert held["picked.label"].dtype == torch.int8  # one byte a row, not eight


def test_names_of_columns_among_ids_are_still_found_and_ids_cost_no_look(tmp_path):
    text = ["id,label,speaker", "u1,a,s", "id,label,speaker", "Utterance_ID,emotion,spk", "u2,b,s"]
    found = header_rows.repeated(read_records(text, ",", 1))
    assert [fault[0] for fault in found] == [3, 4]
    assert not header_rows.may_be_column("u000017") and header_rows.may_be_column("Emotion")


def test_cells_behind_an_apostrophe_are_read_as_they_were_written(tmp_path):
    table = pd.DataFrame({"=x": ["=1+1", "b"], "y": ["'c", "d"]})
    semi.files.write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    assert back.to_dict("list") == table.to_dict("list")


def test_a_dataset_of_some_rows_has_their_sides_and_numbers():
    dataset = tiny_dataset()
    dataset.committee = Committee(dataset.pool[::2], drawn(2, len(dataset.pool[::2]), 3))
    rows = torch.cat([dataset.pool[4:9], dataset.gold, dataset.test[:2]])
    part = dataset.at(rows)
    for side in ("gold", "pool", "dev", "test"):
        ids = dataset.ids[getattr(dataset, side)].tolist()
        kept = [name for name in ids if name in set(dataset.ids[rows].tolist())]
        assert part.ids[getattr(part, side)].tolist() == kept
    assert torch.equal(part.target[part.gold], dataset.target[dataset.gold])
    assert torch.equal(part.values["speech"], dataset.values["speech"][rows])
    asked = dataset.pool[::2].tolist()
    assert part.ids[part.committee.rows].tolist() == [
        dataset.ids[row] for row in asked if row in set(dataset.pool[4:9].tolist())
    ]
    with pytest.raises(ValueError, match="must hold all gold rows"):
        dataset.at(dataset.gold[1:])


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_the_floor_and_the_student_are_chosen_alike_whether_rows_are_many_or_few(
    monkeypatch, spread
):
    dataset = tiny_dataset(gold=120, pool=90, spread=spread)
    config = tiny_config(recipe="auto", model=FusionConfig(kind="discriminant"))
    config.rounds.floor = True
    few = warm_start(dataset, config, learned_start(dataset, config))
    chosen = model_selection.select_model(dataset, config)
    for module in (floor, model_selection):
        monkeypatch.setattr(module, "MANY_ROWS", 10)
    many = warm_start(dataset, config, learned_start(dataset, config))
    assert many.verdict == few.verdict
    assert [e["standing"] for e in many.floor] == pytest.approx(
        [e["standing"] for e in few.floor], abs=1e-4
    )
    torch.testing.assert_close(
        pool_logits(dataset, many), pool_logits(dataset, few), rtol=1e-3, atol=1e-4
    )
    assert model_selection.select_model(dataset, config).sentence == chosen.sentence
