from pathlib import Path

import pytest
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.errors import RunError, SemiError
from semi.files import read_json
from semi.runs.preview import dry_run


@pytest.fixture
def run(runs):
    return Path(runs[0])


def everything(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_it_adds_nothing_and_shows_precision_and_coverage(run):
    before = everything(run)
    seen = dry_run(run, ["rule=class_topk", "coverage=[0.4]"])
    assert everything(run) == before
    assert 0 < seen.preview.chosen <= 0.4 * seen.preview.rows + 3  # quotas are rounded up
    assert seen.rate == 0.4
    assert sum(c.chosen for c in seen.preview.classes) == seen.preview.chosen
    assert seen.hidden is not None and 0 <= seen.hidden.precision <= 1
    text = str(seen)
    assert f"{seen.preview.chosen} of {seen.preview.rows} pool rows" in text
    assert "Nothing was added." in text and "hidden gold" in text
    for word in ("joy", "anger", "calm", "expected", "out-of-fold gold", "at least"):
        assert word in text


def test_a_first_round_is_foretold_as_it_was(run, tmp_path_factory):
    """What the dry run says of a run of zero rounds is what a run of one round then adds."""
    folder = tmp_path_factory.mktemp("foretold")
    write_manifest(folder)
    semi.self_train(settings(folder, "none", "rounds.max_rounds=0"), progress=False)
    for rule in ("class_topk", "label_propagation"):  # by heads, and by neighbours
        seen = dry_run(folder / "runs" / "none", [f"rule={rule}"])
        assert (seen.teacher, seen.number, seen.rule) == (0, 1, rule)
        semi.self_train(settings(folder, rule, f"select.rule={rule}"), progress=False)
        record = read_json(folder / "runs" / rule / "round-01" / "round.json")
        assert record is None or record["added"] == seen.preview.chosen
        if record is None:  # the round found nothing to add
            assert seen.preview.chosen == 0
        else:
            assert record["class_mix"] == {c.name: c.chosen for c in seen.preview.classes}
            assert record["pseudo"]["precision"] == pytest.approx(seen.hidden.precision)


def test_the_teacher_is_the_last_accepted_round(run):
    accepted = [
        r["round"]
        for f in sorted(run.glob("round-*"))
        if (r := read_json(f / "round.json"))["accepted"]
    ]
    seen = dry_run(run)
    assert (seen.teacher, seen.number) == (accepted[-1], accepted[-1] + 1)


def test_the_command_shows_it_and_refuses_to_do_more(run, capsys):
    assert main(["select", str(run), "rule=entropy", "--dry-run"]) == 0
    assert "what rule=entropy would add" in capsys.readouterr().out
    assert main(["select", str(run), "rule=entropy"]) == 2
    assert "semi select only looks: add --dry-run" in capsys.readouterr().err


def test_what_is_wrong_is_named(run, tmp_path):
    with pytest.raises(SemiError, match=r"select.rule must be one of .* did you mean 'entropy'"):
        dry_run(run, ["rule=entrpy"])
    with pytest.raises(RunError, match="is not a run: no such folder"):
        dry_run(tmp_path / "no")
