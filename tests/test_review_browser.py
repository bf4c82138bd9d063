"""The review page in a real browser: it plays, labels by key, reloads, filters, undoes; axe-core.

Skipped where playwright or a Chromium is missing: PLAYWRIGHT_CHROMIUM names one elsewhere.
"""

import shutil
from pathlib import Path

import pytest
from chromium import browser
from review_browser import (
    DESKTOP,
    PHONE,
    expect,
    label_by_key,
    opened,
    served,
    text,
    until,
)
from spoken_run import copied, serving
from two_runs import settings as text_settings
from two_runs import write_manifest

import semi
from semi.data.reviews import read_reviews
from semi.review.rows import review_table
from semi.review.static_page import write_static

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.extras("playwright")


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


def test_a_clip_plays_and_is_drawn(browser, run):
    with served(review_table(run)) as address, opened(browser, address) as page:
        until(page, "() => document.getElementById('audio').currentTime > 0.2")
        length = page.evaluate("document.getElementById('audio').duration")
        assert 1 < length < 10
        until(page, "() => !document.getElementById('picture').classList.contains('loading')")
        until(page, "() => document.getElementById('picture').width > 500")
        colours = page.evaluate("""() => {
            const canvas = document.getElementById("picture");
            const drawn = canvas.getContext("2d");
            const { data } = drawn.getImageData(0, 0, canvas.width, canvas.height);
            return new Set(data.filter((value, n) => n % 4 === 1)).size;  // of green
        }""")
        assert colours > 50
        page.keyboard.press(" ")
        until(page, "() => document.getElementById('audio').paused")
        page.locator("#picture").click(position={"x": 5, "y": 20})
        until(page, "() => !document.getElementById('audio').paused")


def test_labels_by_key_are_kept_over_a_reload_and_taken_back(browser, run):
    with served(review_table(run)) as address, opened(browser, address) as page:
        classes = page.locator("#labels .class").all_inner_texts()
        first = label_by_key(page, "1")
        second = label_by_key(page, "u")
        third = label_by_key(page, "b")
        text(page, "#reviewed", "3 reviews")
        found = read_reviews(run / "reviews.csv")
        assert [(r.id, r.verdict, r.reviewer) for r in found] == [
            (first, "label", "Ada"), (second, "unsure", "Ada"), (third, "bad_audio", "Ada"),
        ]  # fmt: skip
        assert found[0].label == classes[0].split()[0]
        page.reload()
        text(page, "#reviewed", "3 reviews")
        text(page, "#place", "4 of 20")  # the first that is to do; the name is not asked again
        page.keyboard.press("k")
        text(page, "#id", third)
        expect(page.locator("#bad_audio")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("z")
        text(page, "#reviewed", "2 reviews")
        expect(page.locator("#bad_audio")).to_have_attribute("aria-pressed", "false")
        assert read_reviews(run / "reviews.csv")[-1].verdict == "undo"


def test_quick_keys_count_for_one_row_each(browser, run):
    with served(review_table(run)) as address, opened(browser, address) as page:
        for key in "123123":
            page.keyboard.press(key)
        text(page, "#reviewed", "6 reviews")
        found = read_reviews(run / "reviews.csv")
        assert len({r.id for r in found}) == 6 == len(found)
        classes = [c.split()[0] for c in page.locator("#labels .class").all_inner_texts()]
        assert [r.label for r in found] == [*classes[:3], *classes[:3]]
        assert [r.pick for r in found] == ["next"] * 4 + ["random", "next"]
        text(page, "#random", "random 1 of 50")


def test_filters_search_and_keys_do_what_they_say(browser, run):
    with served(review_table(run)) as address, opened(browser, address) as page:
        text(page, "#count", "20 utterances")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        page.keyboard.type("lappen 1 u")  # letters go into the field, and are no labels
        text(page, "#count", "0 utterances")
        page.locator("#q").fill("lappen")
        expect(page.locator("#count")).not_to_have_text("20 utterances")
        for shown in page.locator("#list .text").all_inner_texts():
            assert "lappen" in shown.lower()
        page.locator("#q").fill("")
        text(page, "#count", "20 utterances")
        page.locator("summary").click()
        page.locator("#machine").select_option(index=1)
        wanted = page.locator("#machine").input_value()
        labels = "[...document.querySelectorAll('#list .said')].map(e => e.textContent)"
        until(page, f"() => {labels}.every(text => text.startsWith('{wanted}'))")
        page.locator("#reset").click()
        text(page, "#count", "20 utterances")
        page.locator("#part").select_option("held-out")
        text(page, "#count", "18 utterances")
        expect(page.locator("#badges .held")).to_have_text("held out: test")
        label_by_key(page, "2")
        page.locator("#part").select_option("pool")
        page.locator("#reviewed-by-me").select_option("done")
        text(page, "#count", "0 utterances")
        assert page.locator("#list-empty").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#help-dialog")).to_be_visible()
        page.keyboard.press("1")  # no label while a dialog is open
        page.keyboard.press("Escape")
        assert len(read_reviews(run / "reviews.csv")) == 1


def test_two_reviewers_see_each_other_after_their_own_word(browser, run):
    with served(review_table(run)) as address:
        with opened(browser, address, "Bo") as page:
            name = label_by_key(page, "2")
        with opened(browser, address, "Ada") as page:
            text(page, "#id", name)
            assert page.locator("#words").inner_text() == (
                "1 other reviewer judged this: shown after your own word."
            )
            label_by_key(page, "1")
            page.keyboard.press("k")
            text(page, "#id", name)
            assert "Bo said" in page.locator("#words").inner_text()


def test_what_could_not_be_saved_is_told_and_the_row_stays(browser, run):
    refused = "ERR_CONNECTION_REFUSED"
    with serving(run) as (server, address), opened(browser, address, expected=refused) as page:
        name = page.locator("#id").inner_text()
        until(page, "() => document.getElementById('audio').duration > 0")
        server.kill()
        server.wait()
        page.keyboard.press("1")
        expect(page.locator("#toast")).to_contain_text("Not saved: ")
        assert page.locator("#id").inner_text() == name
        assert not (run / "reviews.csv").exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(browser, run, scheme, size):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    phone = size is PHONE
    words = {"viewport": size, "color_scheme": scheme, "is_mobile": phone, "has_touch": phone}
    with served(review_table(run)) as address, opened(browser, address, "", **words) as page:
        assert violations(axe, page) == []  # the question for the name
        page.locator("#name").fill("Ada")
        page.locator("#name").press("Enter")
        expect(page.locator("#shown")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
        label_by_key(page, "1")
        page.keyboard.press("k")
        assert violations(axe, page) == []
        if phone:
            page.locator("#to-list").click()
        page.locator("summary").click()
        assert violations(axe, page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


def violations(axe, page):
    page.wait_for_timeout(300)  # what fades has no contrast yet
    return [
        (v["id"], [n["html"][:80] for n in v["nodes"]])
        for v in axe.run(page).response["violations"]
    ]


def test_a_phone_labels_by_touch(browser, run):
    words = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
    with served(review_table(run)) as address, opened(browser, address, **words) as page:
        name = page.locator("#id").inner_text()
        assert not page.locator("#list").is_visible()
        for box in [
            b.bounding_box() for b in page.locator("#labels button, .verdicts button").all()
        ]:
            if box:
                assert box["height"] >= 44 and box["x"] + box["width"] <= 390
        page.locator("#labels button").nth(2).tap()
        expect(page.locator("#id")).not_to_have_text(name)
        page.locator("#to-list").tap()
        page.locator("#list .row").first.tap()
        text(page, "#id", name)
        expect(page.locator("#labels button").nth(2)).to_have_attribute("aria-pressed", "true")


def test_a_sound_that_is_gone_is_told_in_its_row(browser, heard, tmp_path):
    home = Path(shutil.copytree(heard.parents[1], tmp_path / "home"))
    words = [f"data.manifest={home}/m.csv"]
    with served(review_table(home / "runs" / "heard", words)) as address:
        with opened(browser, address) as page:
            gone = page.locator("#id").inner_text()
            label_by_key(page, "j")
        (home / "audio" / f"{gone}.opus").unlink()
    with (
        served(review_table(home / "runs" / "heard", words)) as address,
        opened(browser, address) as page,
    ):
        text(page, "#id", gone)
        text(page, "#no-sound", "this sound cannot be played: missing: no such file")
        assert not page.locator("#player").is_visible()
        label_by_key(page, "j")
        expect(page.locator("#player")).to_be_visible()


def test_a_run_of_texts_shows_no_player(browser, tmp_path):
    write_manifest(tmp_path)
    config = text_settings(tmp_path, "texts")
    semi.self_train(config, progress=False)
    with served(review_table(config.path)) as address, opened(browser, address) as page:
        assert not page.locator("#player").is_visible()
        assert page.locator("#text").is_visible()
        size = page.locator("#text").evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
        assert size >= 22
        label_by_key(page, "1")
        text(page, "#reviewed", "1 review")


# --- one file without a server ---


def test_the_static_page_plays_labels_and_gives_a_csv_back(browser, run, tmp_path):
    made = write_static(run, tmp_path / "review.html")
    assert made.rows == made.sounds == 20 and made.random == 4
    with opened(browser, f"file://{tmp_path}/review.html", "=Ada") as page:
        until(page, "() => document.getElementById('audio').currentTime > 0.2")
        first, second = label_by_key(page, "1"), label_by_key(page, "u")
        label_by_key(page, "3")
        page.keyboard.press("z")
        text(page, "#reviewed", "2 reviews")
        page.reload()
        text(page, "#reviewed", "2 reviews")
        with page.expect_download() as waiting:
            page.locator("#download").click()
        waiting.value.save_as(tmp_path / "back.csv")
    found = read_reviews(tmp_path / "back.csv")
    assert [(r.id, r.verdict, r.reviewer) for r in found[:2]] == [
        (first, "label", "=Ada"), (second, "unsure", "=Ada"),
    ]  # fmt: skip
    assert [r.verdict for r in found[2:]] == ["label", "undo"]
    assert {r.pick for r in found} == {"next"}
    assert all(r.run == "heard" and r.time.startswith("20") for r in found)


def test_the_static_page_counts_no_row_as_random_that_was_searched_for(browser, run, tmp_path):
    write_static(run, tmp_path / "review.html")
    with opened(browser, f"file://{tmp_path}/review.html") as page:
        for _ in range(4):
            page.keyboard.press("j")
        text(page, "#place", "5 of 20")
        name = page.locator("#id").inner_text()
        page.locator("#q").fill(name)
        text(page, "#place", "1 of 1")
        page.locator("#id").click()
        page.keyboard.press("1")
        text(page, "#reviewed", "1 review")
        expect(page.locator("#random")).to_contain_text("0 of 4")
        with page.expect_download() as waiting:
            page.locator("#download").click()
        waiting.value.save_as(tmp_path / "back.csv")
    assert [(r.id, r.pick) for r in read_reviews(tmp_path / "back.csv")] == [(name, "browse")]
