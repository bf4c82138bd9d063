"""Workers of a driver that is killed end with it, and let go of their memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = """
import os, sys, time
from pathlib import Path
from semi.parallel import EngineConfig, run_cells

def work(cell):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(0.1)
    return cell

if __name__ == "__main__":
    for _ in run_cells(EngineConfig(processes=2), work, range(10_000)):
        pass
"""


def alive(pid: int) -> bool:
    """Says whether a process is there and has not ended."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_of_a_killed_driver_end_with_it(tmp_path, how):
    script, seen = tmp_path / "driver.py", tmp_path / "seen"
    script.write_text(DRIVER)
    seen.mkdir()
    path = os.pathsep.join(
        p for p in (str(Path(__file__).parents[1]), os.getenv("PYTHONPATH")) if p
    )
    driver = subprocess.Popen(
        [sys.executable, str(script), str(seen)], env=os.environ | {"PYTHONPATH": path}
    )
    try:
        while len(list(seen.iterdir())) < 2:
            assert driver.poll() is None
            time.sleep(0.05)
    finally:
        driver.send_signal(how)
        driver.wait()
    workers = [int(p.name) for p in seen.iterdir()]
    for _ in range(600):
        if not any(map(alive, workers)):
            break
        time.sleep(0.1)
    assert not any(map(alive, workers))
