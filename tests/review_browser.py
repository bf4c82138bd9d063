"""What the browser tests of the review page share: a Chromium, a page with a name, waiting."""

import socket
import threading
from contextlib import contextmanager

import uvicorn
from chromium import playwright

from semi.review.server import review_app

expect = playwright.expect
DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
LONG = 20_000  # ms until a thing is given up that takes a moment


@contextmanager
def served(table):
    """Serves a table from a thread; yields the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(review_app(table, "t"), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token=t"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def opened(browser, address, name="Ada", expected="status of 404", **words):
    """Yields the page with a reviewer's name given; fails on what else its console says."""
    context = browser.new_context(**{"viewport": DESKTOP} | words)
    page = context.new_page()
    page.set_default_timeout(LONG)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    if name:
        page.locator("#name").fill(name)
        page.locator("#name").press("Enter")
        expect(page.locator("#shown")).to_be_visible()
    yield page
    assert [text for text in said if expected not in text] == []
    context.close()


def text(page, place, wanted):
    """Waits until an element has a text."""
    expect(page.locator(place)).to_have_text(wanted, timeout=LONG)


def until(page, question, wanted=True):
    """Waits until the page answers so; without eval, which its policy forbids."""
    found = None
    for _ in range(LONG // 50):
        if (found := page.evaluate(question)) == wanted:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{question}: {found}")


def label_by_key(page, key):
    """Presses a key and waits until the next row is shown; returns the id that was labelled."""
    name = page.locator("#id").inner_text()
    page.keyboard.press(key)
    expect(page.locator("#id")).not_to_have_text(name, timeout=LONG)
    return name
