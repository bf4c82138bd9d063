"""Shared by all tests: one PyTorch thread, and what becomes of tests that need optional libraries.

One thread, because tensors are small and cores may be shared.
"""

import importlib

import pytest
import torch

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
