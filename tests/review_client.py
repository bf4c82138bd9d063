"""A client of the review page, for tests without a browser."""

from starlette.testclient import TestClient

from semi.review.rows import review_table
from semi.review.server import review_app

HEADERS = {"X-Review-Token": "t"}


def opened(run):
    table = review_table(run)
    client = TestClient(review_app(table, "t"), base_url="http://127.0.0.1:1", headers=HEADERS)
    return table, client


def rows(client, **query):
    answer = client.get("/api/rows", params={"reviewer": "Ada", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def review(client, name, label="anger", status=200, **more):
    given = {"id": name, "verdict": "label", "label": label, "reviewer": "Ada"} | more
    answer = client.post("/api/reviews", json={k: v for k, v in given.items() if v is not None})
    assert answer.status_code == status, answer.text
    return answer.json()
