"""OneAhead: one value is made ahead, never two, and what fails fails where its turn comes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from semi.features.one_ahead import OneAhead


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_everything_comes_once_and_in_order(threads):
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        made = OneAhead(range(20), lambda x: x * x, pool if threads else None)
        assert list(made) == [x * x for x in range(20)]
        assert list(made) == []
        assert list(OneAhead([], lambda x: x, pool if threads else None)) == []


def test_without_an_executor_nothing_is_made_before_it_is_asked_for():
    made = []
    values = OneAhead("abc", lambda x: made.append(x) or x)
    assert made == []
    assert next(values) == "a" and made == ["a"]


def test_with_one_the_next_is_made_while_the_last_is_used_and_no_more():
    made, second = [], threading.Event()

    def make(x):
        made.append(x)
        if x == "b":
            second.set()
        return x

    with ThreadPoolExecutor(1) as pool:
        values = OneAhead("abcd", make, pool)
        assert next(values) == "a"
        assert second.wait(60)
        pool.submit(lambda: None).result()
        assert made == ["a", "b"]


def test_what_fails_is_raised_where_its_turn_comes():
    def make(x):
        if x == 1:
            raise ValueError("the second")
        return x

    with ThreadPoolExecutor(1) as pool:
        for executor in (None, pool):
            values = OneAhead([0, 1], make, executor)
            assert next(values) == 0
            with pytest.raises(ValueError, match="the second"):
                next(values)
