"""Label Studio itself, started for a test: its own folder, a free port, two annotators."""

import http.cookiejar
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

TOKEN = "0123456789abcdef0123456789abcdef01234567"
MINUTES = 5  # until it has made its tables


def program():
    """Returns the program, None where there is none: LABEL_STUDIO names it, else the path does."""
    return os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")


@contextmanager
def label_studio(folder, documents):
    """Yields the address of a server that serves local files beneath `documents`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder), "LABEL_STUDIO_HOST": address,
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(documents),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    }  # fmt: skip
    command = [
        program(), "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1",
        "--username", "ann@example.com", "--password", "a-long-password-1", "--user-token", TOKEN,
        "--enable-legacy-api-token",
    ]  # fmt: skip
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log,
                                  start_new_session=True)  # fmt: skip
        try:
            _wait(server, address, folder / "server.log")
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def _wait(server, address, log):
    for _ in range(MINUTES * 60):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise RuntimeError(f"Label Studio did not start: {log.read_text()[-2000:]}")


def api(address, opener=None, headers=None):
    """Returns call(method, path, body) of its API: as the first user, or as who has the opener."""
    opener = opener or urllib.request.build_opener()
    known = headers or (lambda: {"Authorization": f"Token {TOKEN}"})

    def call(method, path, body=None, plain=False):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            address + path, data, {"Content-Type": "application/json", **known()}, method=method
        )
        try:
            with opener.open(request) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None
        return content if plain else json.loads(content)

    return call


def signed_up(address, email, password):
    """Returns the calls of a new user, who signs up as people do."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = f"{address}/user/signup/"
    opener.open(page).read()

    def token():
        return next(cookie.value for cookie in jar if cookie.name == "csrftoken")

    form = {"email": email, "password": password, "csrfmiddlewaretoken": token()}
    data = urllib.parse.urlencode(form | {"allow_newsletters": "false"}).encode()
    opener.open(urllib.request.Request(page, data, {"Referer": page})).read()
    return api(address, opener, lambda: {"X-CSRFToken": token(), "Referer": address})
