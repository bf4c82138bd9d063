"""Shared by all tests: one PyTorch thread, and what becomes of tests that need optional libraries.

One thread, because tensors are small and cores may be shared.
"""

import importlib
import os

import pytest
import torch
from golden_runs import write_small
from spoken_run import spoken_run
from two_runs import two_runs

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption(
        "--extras",
        action="store_true",
        help="run the tests of optional libraries alone; one that is missing is a failure",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("extras"):
        chosen = [item for item in items if item.get_closest_marker("extras")]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_runtest_setup(item):
    """Skips a test marked extras("library", ...) where one is missing; with --extras it fails."""
    for name in (name for mark in item.iter_markers("extras") for name in mark.args):
        try:
            importlib.import_module(name)
        except ImportError as error:
            told = f"the optional library {name} cannot be imported: {error}"
            (pytest.fail if item.config.getoption("extras") else pytest.skip)(told)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Returns the paths of the finished runs a and b, which no test changes."""
    return two_runs(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Returns one feature store for the bundled recordings, shared with the other processes.

    A store is safe for several writers at once and its bytes follow from the sounds alone, so a
    recording is measured once however many tests and pytest-xdist workers ask for it.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "store"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory):
    """Returns a folder with a manifest of 36 real recordings and biosignals (write_small)."""
    folder = tmp_path_factory.mktemp("small")
    write_small(folder)
    return folder


@pytest.fixture(scope="session")
def heard(tmp_path_factory, store):
    """Returns a finished run on 60 real recordings, for the review page; a test copies it."""
    return spoken_run(tmp_path_factory.mktemp("heard") / "heard", store)
