"""Locks between processes: one holder at a time, freed when its process dies."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from semi.errors import RunError
from semi.locks import held, taken
from semi.self_training.lock import locked

ROOT = Path(__file__).resolve().parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from semi.locks import taken
lock = taken(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(3600)
"""


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    one = taken(tmp_path / "l")
    assert one is not None and taken(tmp_path / "l") is None
    one.release()
    two = taken(tmp_path / "l")
    assert two is not None
    two.release()
    inside, most = [], []

    def work():
        for _ in range(20):
            with held(tmp_path / "l"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 60


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "l")]
    other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert taken(tmp_path / "l") is None
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    lock = taken(tmp_path / "l", wait=True)
    assert lock is not None
    lock.release()


def test_what_another_program_wrote_into_a_lock_file_is_no_number_of_a_process(tmp_path):
    (tmp_path / ".lock").write_text("not a number\n")
    refused = pytest.raises(RunError, match="is being written by another process")
    with locked(tmp_path), refused, locked(tmp_path):
        pass
