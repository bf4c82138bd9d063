"""Many rows in the browser: few elements, a hundred a request; and several labels of a row."""

from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from chromium import browser
from review_browser import expect, opened, served, text, until
from test_review_kinds import run_of
from test_review_orders import table_of

from semi.data.reviews import read_reviews
from semi.review.rows import review_table
from semi.review.server import PAGE

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.extras("playwright")


SCROLL = """share => {
    const list = document.getElementById("list");
    list.scrollTop = share * list.scrollHeight;
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


@pytest.mark.parametrize("n", [100_000, 1_000_000])
def test_only_rows_in_sight_are_elements_and_every_row_can_be_reached(browser, tmp_path, n):
    table = table_of(n)
    table.path = tmp_path
    order = np.argsort(table.columns["id"])
    asked = []
    with served(table) as address, opened(browser, address) as page:
        page.on("request", lambda request: asked.append(request.url))
        text(page, "#count", f"{n:,} utterances")
        page.locator("#order").select_option("id")
        text(page, "#id", table.columns["id"][order[0]])
        for share in (0.25, 0.5, 1.0):
            page.evaluate(SCROLL, share)
            until(page, "() => document.querySelectorAll('#list .waiting').length", 0)
            shown = page.locator("#list .name").all_inner_texts()
            assert 5 < len(shown) < 40
            places = sorted(int(name[1:]) for name in shown)
            assert places == list(range(places[0], places[0] + len(places)))
            assert abs(np.mean(places) / n - share) < 0.01
        assert places[-1] == n - 1  # the very last row
        page.locator("#list .row").last.click()
        text(page, "#place", f"{n:,} of {n:,}")
    lists = [parse_qs(urlsplit(url).query) for url in asked if "/api/rows" in url]
    assert all(query["length"] == [str(PAGE)] for query in lists) and len(lists) < 20


def test_several_labels_are_marked_and_saved_with_enter(browser, tmp_path):
    path = run_of(tmp_path, "multi_label", "data.ties=votes")
    with served(review_table(path)) as address, opened(browser, address) as page:
        name = page.locator("#id").inner_text()
        for key in ("3", "1", "2", "2"):
            page.keyboard.press(key)
        until(page, "() => document.querySelectorAll('#labels .chosen').length", 2)
        assert not (path / "reviews.csv").exists()
        page.keyboard.press("Enter")
        expect(page.locator("#id")).not_to_have_text(name)
        (written,) = read_reviews(path / "reviews.csv")
        assert (written.id, written.label) == (name, "anger;joy")
