"""Splits: whole groups, by seed, nothing of the held-out side in training, every leak named."""

import numpy as np
import pandas as pd
import pytest
from corpus_trees import wav

from semi.data.audio import audio_sha256
from semi.data.config import DataConfig
from semi.data.draws import LabelledRows
from semi.data.held_out import choose_groups, unevenness
from semi.data.leaks import leak_report, normalise_text
from semi.data.manifest import load_manifest
from semi.data.roles import Splits
from semi.data.splits import make_splits
from semi.data.wording import warnings_in
from semi.errors import ManifestError

CLASSES = ("angry", "happy", "sad")


def table(n=240, speakers=8, unlabelled=0.0, **columns):
    rng = np.random.default_rng(0)
    label = np.array(CLASSES, dtype=object)[rng.integers(0, 3, n)]
    label[rng.random(n) < unlabelled] = None
    frame = pd.DataFrame(
        {
            "id": [f"u{i}" for i in range(n)],
            "text": [f"sentence {i}" for i in range(n)],
            "label": label,
            "speaker": [f"s{i % speakers}" for i in range(n)],
        }
    )
    return frame.assign(**columns)


def load(tmp_path, frame, **config):
    frame.to_csv(tmp_path / "m.csv", index=False)
    settings = DataConfig(**config)
    return load_manifest(tmp_path / "m.csv", settings), settings


def split(tmp_path, frame, folds=5, seed=0, **config):
    manifest, settings = load(tmp_path, frame, **config)
    return make_splits(manifest, settings, folds=folds, seed=seed)


def error(tmp_path, frame, **config):
    with pytest.raises(ManifestError) as caught:
        split(tmp_path, frame, **config)
    return str(caught.value)


def groups_of(splits, *roles):
    return set(splits.group[np.isin(splits.role, roles)].tolist())


@pytest.mark.parametrize("seed", range(8))
def test_no_group_stands_on_two_sides_and_no_fold_shares_one(tmp_path, seed):
    splits = split(tmp_path, table(unlabelled=0.4), seed=seed)
    assert not groups_of(splits, "labeled", "pool") & groups_of(splits, "test")
    labeled = splits.role == "labeled"
    for name in np.unique(splits.group[labeled]):
        assert len(np.unique(splits.fold[labeled & (splits.group == name)])) == 1
    assert set(splits.fold[labeled].tolist()) == set(range(5)) and splits.folds == 5
    assert (splits.fold[~labeled] == -1).all()
    gold = splits.label >= 0
    assert 0.1 < (splits.role == "test").sum() / gold.sum() < 0.3
    assert set(splits.label[splits.role == "test"].tolist()) == {0, 1, 2}


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(tmp_path):
    config = {"labeled_fraction": 0.2}
    first, again, other = (split(tmp_path, table(), seed=s, **config) for s in (3, 3, 4))
    assert (first.role == again.role).all() and (first.fold == again.fold).all()
    assert (first.role != other.role).any()
    assert (
        len({frozenset(groups_of(split(tmp_path, table(), seed=s), "test")) for s in range(9)}) > 3
    )


def test_the_draw_is_stratified_hides_the_rest_and_keeps_their_gold_for_reports(tmp_path):
    everything = split(tmp_path, table())
    splits = split(tmp_path, table(), labeled_fraction=0.25)
    kept, hidden = splits.role == "labeled", splits.role == "pool"
    for c in range(3):
        before = ((everything.role == "labeled") & (everything.label == c)).sum()
        assert abs((kept & (splits.label == c)).sum() - 0.25 * before) <= 0.5
    assert (splits.label[hidden] >= 0).all() and (splits.target[hidden] == 0).all()
    assert (splits.target[kept].sum(1) == 1).all()
    assert ((everything.role == "test") == (splits.role == "test")).all()
    assert any("training labels kept (25 % asked, seed 0)" in note for note in splits.notes)


def test_a_larger_draw_contains_the_smaller_one(tmp_path):
    small = split(tmp_path, table(), labeled_fraction=0.1).role == "labeled"
    large = split(tmp_path, table(), labeled_fraction=0.3).role == "labeled"
    assert small.sum() < large.sum() and large[small].all()


@pytest.mark.parametrize(("count", "kept"), [(60, 60), (6, 6), (2, 6), (100_000, None)])
def test_a_count_is_met_exactly_but_for_two_of_each_class(tmp_path, count, kept):
    splits = split(tmp_path, table(), labeled_count=count)
    labeled = splits.role == "labeled"
    assert labeled.sum() == (kept or (splits.role != "test").sum())
    assert np.bincount(splits.label[labeled], minlength=3).min() >= 2
    said = [note for note in splits.notes if "training labels kept" in note]
    assert ("at least 2" in said[0]) == (count == 2) and ("no more than" in said[0]) == (
        kept is None
    )


def test_a_split_column_is_respected_word_for_word(tmp_path):
    names = ["train", "Training", "dev", "val", "test", "", "pool"]
    frame = table(speakers=240, split=[names[i % 7] for i in range(240)])
    frame.loc[[i for i in range(240) if names[i % 7] == "pool"], "label"] = None
    splits = split(tmp_path, frame)
    roles = {
        name: set(splits.role[[i for i in range(240) if names[i % 7] == name]]) for name in names
    }
    assert roles["train"] == roles["Training"] == roles[""] == {"labeled"}
    assert roles["dev"] == roles["val"] == {"dev"}
    assert roles["test"] == {"test"} and roles["pool"] == {"pool"}


def test_unlabelled_rows_of_held_out_speakers_never_enter_the_pool(tmp_path):
    splits = split(tmp_path, table(unlabelled=0.4))
    held = np.isin(splits.group, sorted(groups_of(splits, "test")))
    assert (splits.label[held] < 0).any()
    assert set(splits.role[held & (splits.label < 0)].tolist()) == {"unused"}
    explicit = table(speakers=4, split=["test" if i % 4 == 0 else "train" for i in range(240)])
    explicit.loc[0:40, "label"] = None
    explicit.loc[0:40, "split"] = "unlabeled"
    splits = split(tmp_path, explicit)
    assert splits.role[0] == "unused" and splits.role[1] == "pool"
    assert any("unlabelled rows of held-out speakers kept out" in note for note in splits.notes)


def test_named_test_groups_are_held_out_and_unknown_ones_refused(tmp_path):
    splits = split(tmp_path, table(), test_groups=["s3", "s5"])
    assert groups_of(splits, "test") == {"s3", "s5"}
    sessions = table(session=[f"Ses{i % 8 // 2}" for i in range(240)])
    splits = split(tmp_path, sessions, group="session", test_groups=["Ses1"])
    assert groups_of(splits, "test") == {"Ses1"} and splits.group_kind == "session"
    message = error(tmp_path, sessions, group="session", test_groups=["Sess1"])
    assert "'Sess1', which is no session of" in message and "did you mean 'Ses1'?" in message


def test_auto_takes_the_first_group_that_divides_the_rows_and_warns_without_one(tmp_path):
    frame = table(speakers=1, session=[f"e{i % 6}" for i in range(240)])
    assert split(tmp_path, frame, allow_leaks=["speaker"]).group_kind == "session"
    lone = split(tmp_path, table(speakers=1), allow_leaks=["speaker"])
    assert lone.group_kind == "none" and lone.notes[0].startswith("warning: all rows share one")
    assert 0.15 < (lone.role == "test").mean() < 0.25
    assert "fill it in, or set data.group=speaker" in error(tmp_path, table(), group="session")
    assert "belong to one speaker" in error(tmp_path, table(speakers=1), group="speaker")


def test_rows_without_a_speaker_count_as_their_own_group(tmp_path):
    frame = table(unlabelled=0.5)
    frame.loc[frame["label"].isna(), "speaker"] = None
    splits = split(tmp_path, frame)
    assert (splits.role[frame["label"].isna()] == "pool").all()


def test_fewer_groups_than_folds_share_them_with_a_warning(tmp_path):
    splits = split(tmp_path, table(speakers=4))
    assert any("fewer than the 5 folds" in n and n.startswith("warning") for n in splits.notes)
    assert np.bincount(splits.fold[splits.role == "labeled"]).min() > 20


def test_classes_rarer_than_folds_are_dealt_out_and_said_so(tmp_path):
    frame = table()
    frame["label"] = np.where(frame["label"] == "sad", "happy", frame["label"])
    frame.loc[[2, 10], "label"] = "sad"  # both of speaker s2
    splits = split(tmp_path, frame, test_groups=["s0"])
    told = "warning: the labelled rows of 'sad' come from one speaker: no model that learned"
    assert any(note.startswith(told) for note in splits.notes)
    few = split(tmp_path, table(n=9, speakers=9), folds=20, test_fraction=0.0)
    assert few.folds == 9 and any("9 folds instead of 20" in note for note in few.notes)


def test_the_held_out_groups_leave_every_class_in_training(tmp_path):
    frame = table()
    frame.loc[frame["label"] == "sad", "label"] = "happy"
    frame.loc[frame["speaker"] == "s2", "label"] = "sad"  # one speaker has the whole class
    for seed in range(12):
        splits = split(tmp_path, frame, seed=seed)
        assert "s2" not in groups_of(splits, "test")


def test_training_without_gold_or_without_a_class_is_refused_by_sentence(tmp_path):
    blank = table(label=None)
    assert "no labelled row is left for training" in error(tmp_path, blank)
    assert "every label is 'happy'" in error(tmp_path, table(label="happy"))
    message = error(tmp_path, table(), classes=[*CLASSES, "bored"])
    assert "no labelled training row of 'bored' (no row)" in message
    assert "remove it from data.classes, drop it with" in message
    assert "drop it with 'data.label_map={bored: \"\"}', or label" in message
    frame = table()
    frame["label"] = np.where(frame["speaker"] == "s1", "sad", "happy")
    message = error(tmp_path, frame, test_groups=["s1"])
    assert "'sad' (30 rows elsewhere)" in message and "data.test_groups" in message
    assert "data.classes" not in message  # which nobody set


def test_a_class_that_only_held_out_rows_have_is_told_and_does_not_stop_the_rest(tmp_path):
    frame = table()
    frame["label"] = np.where(frame["speaker"] == "s1", "sad", "happy")
    frame.loc[frame.index[::2], "label"] = "angry"
    frame.loc[frame["speaker"] == "s1", "label"] = "sad"
    splits = split(tmp_path, frame, test_groups=["s1"])
    told = [note for note in splits.notes if "no labelled training row of 'sad'" in note]
    assert told and "'sad' (30 rows elsewhere): no model can name it" in told[0]


def test_votes_become_shares_and_ties_are_never_scored(tmp_path):
    frame = table(
        votes=[
            {0: '{"sad": 3, "happy": 1}', 1: "happy;sad", 8: "sad;angry"}.get(i) for i in range(240)
        ]
    )
    frame.loc[[0, 1, 8], "label"] = None
    splits = split(tmp_path, frame, ties="votes", test_groups=["s0"])
    assert splits.target[0].tolist() == [0.0, 0.25, 0.75] and splits.label[0] == 2
    assert splits.role[1] == "labeled" and splits.target[1].tolist() == [0.0, 0.5, 0.5]
    assert splits.label[1] in (1, 2)
    assert splits.role[8] == "unused"  # speaker s0 is held out and a tie has no single gold
    dropped = split(tmp_path, frame, test_groups=["s0"])
    assert dropped.role[1] == "pool" and dropped.label[1] == -1


def test_one_text_on_both_sides_is_a_warning_until_it_is_known(tmp_path):
    frame = table(text=[f"Sentence {i // 8}!" for i in range(240)])
    frame.loc[0, "text"] = "sentence, 0"
    (told,) = warnings_in(split(tmp_path, frame).notes)
    assert "share a text: 60 of 60 dev/test rows" in told and "'sentence 0' in " in told
    assert "'data.allow_leaks=[text]' says that this is known" in told
    splits = split(tmp_path, frame, allow_leaks=["text"])
    assert any(note.startswith("accepted leak, text: ") for note in splits.notes)
    assert not warnings_in(splits.notes)


def test_what_no_model_reads_is_not_searched_for_leaks(tmp_path):
    wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav")
    frame = table(40, 40, split=["train"] * 30 + ["test"] * 10, text="the same",
                  audio=["a.wav"] * 40)  # fmt: skip
    manifest, settings = load(tmp_path, frame)
    with pytest.raises(ManifestError, match="audio: 10 of 10 dev/test rows"):
        make_splits(manifest, settings, folds=5, seed=0, inputs=["audio"])
    read = make_splits(manifest, settings, folds=5, seed=0, inputs=["text"])
    assert any("share a text: 10 of 10 dev/test rows" in n for n in warnings_in(read.notes))
    neither = make_splits(manifest, settings, folds=5, seed=0, inputs=[])
    assert not any("share" in note for note in neither.notes)


def test_the_drawn_test_side_is_as_even_as_the_best_of_many_draws():
    rng = np.random.default_rng(0)
    for seed in range(4):
        group = np.array([f"g{i}" for i in rng.integers(0, 12, 500)])
        leaning = np.array([int(g[1:]) % 4 for g in group])  # each group prefers one class
        label = np.where(rng.random(500) < 0.5, leaning, rng.choice(4, 500, p=[0.6, 0.2, 0.1, 0.1]))
        rows = LabelledRows(np.arange(500).astype(str), label, group)
        names, total = np.unique(group), np.bincount(label)

        def off(chosen, rows=rows, total=total):
            held = np.bincount(rows.label[np.isin(rows.group, list(chosen))], minlength=4)
            return float(unevenness(held[None], total, 0.2)[0])

        random = [off(rng.choice(names, k, replace=False)) for _ in range(400) for k in (2, 3)]
        assert off(choose_groups(rows, 4, 0.2, seed)) <= min(random) + 0.0101
    alone = LabelledRows(np.arange(82).astype(str), np.array([0] * 80 + [1] * 2), np.arange(82))
    chosen = [int(g) for g in choose_groups(alone, 2, 0.2, 0)]  # every row its own group
    assert sum(g < 80 for g in chosen) == 16 and sum(g >= 80 for g in chosen) == 1


def test_sessions_shared_by_speakers_leak_and_the_message_offers_the_group(tmp_path):
    frame = table(session=[f"e{i % 8 // 2}" for i in range(240)])
    message = error(tmp_path, frame, test_groups=["s0"])
    assert "data.group=session would hold out whole sessions" in message
    assert "data.allow_leaks=[session]" in message
    assert split(tmp_path, frame, group="session").group_kind == "session"


def test_a_split_column_with_speakers_on_both_sides_is_a_leak(tmp_path):
    frame = table(split=["test" if i < 60 else "train" for i in range(240)])
    message = error(tmp_path, frame, allow_leaks=["text"])
    assert "speaker: 60 of 60 dev/test rows" in message
    assert "data.allow_leaks=[text,speaker]" in message
    assert split(tmp_path, frame, allow_leaks=["speaker"]).folds == 5


def manual(manifest, roles):
    n = len(manifest)
    blank = np.full(n, -1)
    return Splits(np.array(roles), blank, np.zeros((n, 1)), np.array(["g"] * n), blank)


def test_the_report_finds_each_kind_and_ignores_unused_rows(tmp_path):
    wav(tmp_path / "a.wav"), wav(tmp_path / "c.wav")
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    frame = pd.DataFrame(
        {
            "id": ["x", "X", "y", "z", "w"],
            "audio": ["a.wav", "b.wav", "c.wav", "c.wav", "c.wav"],
            "text": ["Hi, you!", "hi  you", "other", "else", "hi you"],
            "speaker": ["s", "t", "s", "u", "s"],
            "session": ["1", "2", "3", "3", "1"],
        }
    )
    manifest, _ = load(tmp_path, frame)
    splits = manual(manifest, ["labeled", "test", "pool", "dev", "unused"])
    found = leak_report(manifest, splits).found
    assert {k: v.count for k, v in found.items()} == {
        "utterance": 1,
        "audio": 1,
        "text": 1,
        "session": 1,
    }
    assert leak_report(manifest, splits, audio_sha256).found["audio"].count == 2
    assert "'c.wav' in train (y) and dev (z)" in str(found["audio"])
    assert [k.kind for k in leak_report(manifest, splits).unacknowledged(["text", "audio"])] == [
        "utterance",
        "session",
    ]
    clean = manual(manifest, ["labeled", "pool", "pool", "labeled", "pool"])
    assert str(leak_report(manifest, clean)) == "no leak between train, dev and test"


def test_spans_of_one_recording_leak_only_when_they_are_the_same_span(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x")
    frame = pd.DataFrame(
        {"id": list("abc"), "audio": "a.wav", "start": [0, 1, 1], "end": [1, 2, 2]}
    )
    manifest, _ = load(tmp_path, frame)
    assert "audio" not in leak_report(manifest, manual(manifest, ["pool", "test", "test"])).found
    assert (
        leak_report(manifest, manual(manifest, ["pool", "pool", "test"])).found["audio"].count == 1
    )


def test_texts_are_compared_without_case_punctuation_and_unicode_form():
    assert normalise_text("  Ｇｕｔｅｎ—TAG!! ") == normalise_text("guten tag")
    assert normalise_text("한국어") == normalise_text("\u1112\u1161\u11ab국어")
    assert normalise_text("?!") == ""


def test_one_recording_under_two_names_stops_the_run(tmp_path):
    for i in range(40):
        wav(tmp_path / f"{i}.wav")
    for i in (5, 35):  # broken alike: quarantine, no leak
        (tmp_path / f"{i}.wav").write_bytes(b"no sound")
    side = ["train"] * 30 + ["test"] * 10
    frame = table(40, 40, split=side, audio=[f"{i}.wav" for i in range(40)])
    assert split(tmp_path, frame).folds == 5
    wav(tmp_path / "0.wav")
    (tmp_path / "39.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    message = error(tmp_path, frame)
    assert "audio: 1 of 10 dev/test rows, e.g. '0.wav' in train (u0) and test (u39)" in message
    assert message.endswith("set 'data.allow_leaks=[audio]'")


def test_one_speaker_is_not_told_to_hold_out_whole_speakers(tmp_path):
    message = error(tmp_path, table(speakers=1))
    assert "speaker: " in message and "data.group" not in message
    assert message.endswith("if this is known and accepted, set 'data.allow_leaks=[speaker]'")
