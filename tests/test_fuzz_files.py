"""Damaged tables, sounds, settings, arrays, voter files, model folders and runs, and a hang."""

import os
import random
import subprocess
import sys
from pathlib import Path

import fuzzing

PROGRAM = Path(fuzzing.__file__)


def test_no_damaged_file_ends_in_anything_but_all_it_holds_or_a_sentence():
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "250", "0"], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout == "250 cases of seed 0: 0 failures\n", done.stdout + done.stderr


HANGING = """
import sys
sys.path[:0] = sys.argv[1:]
import fuzzing
fuzzing.CPU = 1

def hangs(folder, chance):
    while True:
        pass

def crashes(folder, chance):
    import os
    os.abort()

cases = {"fine": lambda f, c: "", "hang": hangs, "crash": crashes, "lost": lambda f, c: "a row"}
fuzzing.watched(["fine", "hang", "crash", "fine", "lost"], cases, 0)
"""


def test_a_case_that_hangs_or_crashes_is_named_and_the_others_are_still_taken(tmp_path):
    places = [str(PROGRAM.parents[1]), str(PROGRAM.parent)]
    done = subprocess.run(
        [sys.executable, "-c", HANGING, *places], cwd=tmp_path, capture_output=True, text=True
    )
    hang, crash, lost = done.stdout.splitlines()
    assert (hang, crash) == ("hang 1: hangs", "crash 2: ended with -6")
    assert lost.startswith("lost 4: a row (")


def test_a_case_follows_from_its_seed(tmp_path):
    written = []
    for name in "ab":
        (tmp_path / name).mkdir()
        fuzzing.judged(fuzzing.FAMILIES["table"][0], tmp_path / name, random.Random("0/7"))
        written.append([p.read_bytes() for p in (tmp_path / name).iterdir()])
    assert written[0] == written[1] and written[0]
