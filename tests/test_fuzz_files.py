"""Mutated tables, sounds, settings, arrays, voter files and runs: read or refused in a sentence."""

from fuzzing import files_cases, run_cases


def test_no_mutated_file_ends_in_anything_but_an_answer_or_a_sentence(tmp_path):
    failures = [f for f in files_cases(450, 0, tmp_path) if f is not None]
    assert [f"{f.case}: {f.what}" for f in failures] == []


def test_no_mutated_file_of_a_run_is_passed_over(runs, tmp_path):
    failures = [f for f in run_cases(60, 0, runs[0], tmp_path) if f is not None]
    assert [f"{f.case}: {f.what}" for f in failures] == []
