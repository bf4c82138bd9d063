"""The report in a real browser: it plays, sorts, opens cells, fits a phone, and prints whole."""

import pytest
from chromium import browser, playwright  # noqa: F401  a fixture
from test_report_rows import run, table  # noqa: F401  fixtures

from semi.evaluation.html_report import write_report

pytestmark = pytest.mark.extras("playwright")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture
def opened(browser, run, table):  # noqa: F811
    """Returns a function that opens the report; nothing it does may be spoken of by the console."""
    address = write_report(run, table).resolve().as_uri()
    contexts, complaints = [], []

    def show(viewport=DESKTOP, **words):
        contexts.append(browser.new_context(viewport=viewport, **words))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: complaints.append(r.url) if r.url.startswith("http") else None)
        page.goto(address)
        return page

    yield show
    for context in contexts:
        context.close()
    assert complaints == []


def ids(page, key="mistakes"):
    return page.locator(f"#{key}-table tbody tr:visible th").all_inner_texts()


def test_a_clip_plays_and_stops_the_one_before(opened):
    page = opened()
    buttons = page.locator("#mistakes-table td.play button:visible")
    playwright.expect(buttons.first).to_have_accessible_name("Play " + ids(page)[0])
    for number in (0, 1):
        buttons.nth(number).click()
        playwright.expect(page.locator("td.play button.on")).to_have_count(1)
        page.wait_for_function(
            "n => document.querySelectorAll('#mistakes-table audio')[n].currentTime > 0.2",
            arg=number,
        )
    buttons.nth(1).click()
    playwright.expect(page.locator("td.play button.on")).to_have_count(0)


def test_a_cell_of_the_matrix_opens_its_rows(opened):
    page = opened()
    everything = ids(page)
    cell = page.locator("#test ~ .two a[data-place]").nth(1)
    place = cell.get_attribute("data-place")
    cell.click()
    rows = page.locator("#mistakes-table tbody tr:visible")
    places = rows.evaluate_all("rows => rows.map(row => row.dataset.place)")
    assert set(places) == {place} and 0 < len(places) < len(everything)
    assert rows.first.locator("td.play button").is_visible()
    page.get_by_role("button", name="show all").click()
    assert ids(page) == everything


def test_columns_sort_by_number_and_by_word_both_ways(opened):
    page = opened()
    column = page.locator("#picks-table thead th", has_text="sure %")
    values = page.locator("#picks-table tbody td:nth-child(4)")
    for direction, backwards in (("ascending", False), ("descending", True)):
        column.get_by_role("button").click()
        assert column.get_attribute("aria-sort") == direction
        found = [float(text) for text in values.all_inner_texts()]
        assert found == sorted(found, reverse=backwards)
    page.locator("#picks-table thead th", has_text="id").first.get_by_role("button").click()
    assert ids(page, "picks") == sorted(ids(page, "picks"))


def test_everything_is_there_without_a_script(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("audio[controls]:visible").count() > 40
    assert page.locator("#oof table").first.is_hidden()
    page.locator("#oof > summary").click()
    assert page.locator("#oof table").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_on_a_phone_and_everybody_can_read_it(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core")
    page = opened(PHONE, color_scheme=scheme, bypass_csp=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator(".big b").bounding_box()["y"] < 200
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []


def test_paper_shows_what_is_folded_and_no_players(opened):
    page = opened()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("td.play button:visible, nav:visible").count() == 0
    assert page.locator(".fold details p").first.is_visible()
    assert page.get_by_text("config.yaml").is_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator(".fold details p").first.is_hidden()
