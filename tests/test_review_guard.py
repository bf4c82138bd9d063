"""Who may talk to the review page: other sites, other names, no token, long bodies, odd paths."""

import pytest
from spoken_run import copied
from starlette.testclient import TestClient

from semi.host_names import host_name
from semi.review.guard import BODY_LIMIT
from semi.review.rows import review_table
from semi.review.server import review_app

TOKEN = "right"
HOST = "127.0.0.1:8765"
REVIEW = {"verdict": "label", "label": "anger", "reviewer": "Ada"}


@pytest.fixture(scope="module")
def table(heard, tmp_path_factory):
    return review_table(copied(heard, tmp_path_factory.mktemp("guard")))


def client(table, **words):
    app = review_app(table, TOKEN)
    words = {"base_url": f"http://{HOST}", "headers": {"X-Review-Token": TOKEN}} | words
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False, **words)


PATHS = ["/", "/api/rows", "/api/row?id=03a01Fa", "/audio?id=03a01Fa"]


@pytest.mark.parametrize("path", PATHS)
def test_with_token_and_host_everything_answers(table, path):
    answer = client(table).get(path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "wrong", "RIGHT", "right ", "ríght"])
def test_without_the_token_nothing_does(table, path, token):
    for given in ({"X-Review-Token": token.encode()}, {}):
        answer = client(table, headers=given).get(path)
        assert answer.status_code == 403
        assert "token" in answer.json()["error"]


def test_the_token_in_the_address_opens_the_page(table):
    assert client(table, headers={}).get(f"/?token={TOKEN}").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "127.0.0.1@evil.example",
     "localhost.evil.example", "0.0.0.0:8765", "192.168.0.4:8765", "[::2]:8765", "127.0.0.1:x",
     "127.0.0.1#.evil.example", "127.0.0.1/evil", ""],
)  # fmt: skip
def test_a_name_that_points_here_is_refused(table, host):
    """DNS rebinding: the browser believes that it talks to that name."""
    answer = client(table).get("/api/rows", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json() == {
        "error": "this page is served on this machine alone, as 127.0.0.1 or localhost"
    }


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "LOCALHOST"])
def test_a_tunnel_to_this_machine_may_use_another_port(table, host):
    assert client(table).get("/api/rows", headers={"Host": host}).status_code == 200
    assert host_name(host) in ("127.0.0.1", "localhost", "::1")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8765", "http://127.0.0.1:8766",
     "http://localhost:8765", "http://127.0.0.1", ""],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(table, origin, method):
    body = REVIEW | {"id": "03a01Fa"}
    path = "/api/rows" if method == "GET" else "/api/reviews"
    before = client(table).get("/api/rows?reviewer=Ada").json()["progress"]
    answer = client(table).request(
        method, path, headers={"Origin": origin}, json=body if method == "POST" else None
    )
    assert answer.status_code == 403
    assert client(table).get("/api/rows?reviewer=Ada").json()["progress"] == before


def test_a_request_that_the_browser_calls_foreign_is_refused(table):
    for site in ("cross-site", "same-site"):
        answer = client(table).get("/audio?id=03a01Fa", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    link = client(table).get("/", headers={"Sec-Fetch-Site": "cross-site"})
    assert link.status_code == 200  # the address was clicked on in a chat, say


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(table, method):
    answer = client(table).request(method, "/api/reviews")
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_is_not_answered(table):
    answer = client(table).options(
        "/api/reviews",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code in (403, 405)


def test_a_long_body_is_refused_with_its_length_and_without(table):
    def parts():
        for _ in range(40):
            yield b"x" * 1024

    for body in (b"x" * (BODY_LIMIT + 1), parts()):
        answer = client(table).post(
            "/api/reviews", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.json() == {"error": f"a request has at most {BODY_LIMIT} bytes"}


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999"])
def test_an_odd_length_is_refused(table, length):
    answer = client(table).post("/api/reviews", headers={"Content-Length": length}, content=b"{}")
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "name",
    ["../config.yaml", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "03a01Fa%00", "audio/03a01Fa.opus",
     "file:///etc/passwd", "", "03A01FA", "%ff"],
)  # fmt: skip
def test_no_path_of_the_client_is_opened(table, name):
    answer = client(table).get(f"/audio?id={name}")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("this run has no row ")


@pytest.mark.parametrize(
    "path", ["/../config.yaml", "/config.yaml", "/audio/../../etc/passwd", "/browser/main.js",
             "/reviews.csv", "/api", "/%2e%2e/config.yaml"]
)  # fmt: skip
def test_nothing_else_is_served(table, path):
    assert client(table).get(path).status_code == 404


def test_a_fault_tells_the_client_nothing(table, capsys, monkeypatch):
    import semi.review.server as server

    def broken(*_):
        raise KeyError("/secret/place")

    monkeypatch.setattr(server, "line", broken)
    answer = client(table).get("/api/rows")
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong; the terminal of semi review says what"}
    assert capsys.readouterr().err == "semi review: KeyError: '/secret/place'\n"
