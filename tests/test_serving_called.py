"""The names by which a service may be called: another site's, pointed here, is turned away."""

import http.client
import re

import pytest
from served_run import EXTRAS, service
from test_serving import client_of

from semi.cli import main
from semi.errors import SemiError
from semi.serving.called import called_as

PLAIN = [
    "localhost", "LOCALHOST", "localhost.", "localhost:8000", "127.0.0.1", "127.0.0.1:8000",
    "127.1.2.3", "[::1]", "[::1]:9000",
]  # fmt: skip
FOREIGN = [
    "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example",
    "127.0.0.1@evil.example", "evil.example#127.0.0.1", "127.0.0.1/evil", "127.0.0.1:x",
    "localhost:99999999", "::1", "0x7f000001", "2130706433", "", " ", "localhost,evil.example",
]  # fmt: skip


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "0.0.0.0", "192.168.0.4", "labels"])
@pytest.mark.parametrize("host", PLAIN)
def test_this_machine_may_always_call_it(host, bound):
    assert called_as(bound, []).problem([host]) == ""


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "0.0.0.0", "::", "192.168.0.4", "labels"])
@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_is_pointed_here_may_not(host, bound):
    sentence = called_as(bound, ["labels.example.org"]).problem([host])
    own = "its address" if bound in ("0.0.0.0", "::") else bound
    assert sentence.startswith(f"this service is called localhost or {own}, not ")
    assert sentence.endswith("start it with --allow-host NAME to call it so, or with --token")


@pytest.mark.parametrize(
    ("bound", "host"),
    [("192.168.0.4", "192.168.0.4:80"), ("0.0.0.0", "192.168.0.4"), ("::", "[fe80::1]:8000"),
     ("labels", "labels:8000"), ("Labels.Lan", "labels.lan"), ("fe80::1", "[fe80::1]:8000")],
)  # fmt: skip
def test_the_address_it_listens_at_is_its_own(bound, host):
    assert called_as(bound, []).problem([host]) == ""


@pytest.mark.parametrize("bound", ["127.0.0.1", "192.168.0.4"])
def test_another_address_in_numbers_is_its_own_only_where_it_listens_at_all(bound):
    assert "not '10.0.0.9'" in called_as(bound, []).problem(["10.0.0.9:8000"])


def test_two_names_and_none_at_all_are_refused():
    called = called_as("127.0.0.1", [])
    for hosts, count in (
        ([], "none"), (["localhost", "localhost"], "2"), (["localhost", "evil.example"], "2"),
    ):  # fmt: skip
        assert called.problem(hosts) == (
            "a request needs one Host header, which names this service: localhost or 127.0.0.1; "
            f"this one has {count}"
        )
    assert "not ''; start it" in called.problem([""])


def test_a_further_name_is_allowed_without_its_port_and_in_any_case():
    called = called_as("127.0.0.1", ["labels.Example.org", "10.0.0.9", "fe80::1"])
    for host in ("labels.example.org", "LABELS.example.org:443", "labels.example.org.",
                 "10.0.0.9:8000", "[fe80::1]"):  # fmt: skip
        assert called.problem([host]) == ""
    assert called.problem(["example.org"]) and called.problem(["a.labels.example.org"])


@pytest.mark.parametrize(
    "name",
    ["http://labels.example.org", "labels.example.org:8000", "labels.example.org/predict", "",
     " labels", "a b", "*", "*.example.org", "me@labels", "10.0.0.9:8000", "[fe80::1]:8000"],
)  # fmt: skip
def test_what_is_no_name_is_refused_in_a_sentence(name):
    with pytest.raises(SemiError, match=re.escape(f"without a port, got '{name}'")):
        called_as("127.0.0.1", ["labels", name])


def test_the_command_says_so_before_it_loads_anything(tmp_path, capsys):
    pytest.importorskip("fastapi")
    assert main(["serve", str(tmp_path / "no-run"), "--allow-host", "http://labels"]) == 2
    assert "--allow-host takes a name as labels.example.org" in capsys.readouterr().err


@pytest.mark.extras(*EXTRAS)
def test_a_foreign_name_is_answered_with_a_sentence_and_nothing_is_read(heard):
    called = called_as("127.0.0.1", ["labels"])
    with client_of(heard, called=called) as client:
        for path in ("/predict", "/predict/batch"):
            for host, status in (("evil.example", 421), ("localhost", 200), ("labels:80", 200)):
                answer = client.post(path, files={"text": (None, "hallo")}, headers={"Host": host})
                assert answer.status_code == status, host
        for path in ("/metrics", "/docs", "/openapi.json", "/nothing"):
            refused = client.get(path, headers={"Host": "evil.example"})
            assert refused.status_code == 421
            assert "not 'evil.example'; start it with --allow-host" in refused.json()["error"]
        for path in ("/health", "/health/live", "/health/ready"):  # a probe knows no name
            assert client.get(path, headers={"Host": "10.1.2.3"}).status_code == 200
        counted = client.get("/metrics", headers={"Host": "localhost"}).text
        assert re.search(r'path="/predict",status="421"} 1\.0', counted)


@pytest.mark.extras(*EXTRAS)
def test_who_has_the_token_may_call_it_as_they_like(heard):
    key = {"Authorization": "Bearer key", "Host": "evil.example"}
    with client_of(heard, token="key") as client:
        assert client.get("/metrics", headers=key).status_code == 200
        assert client.get("/metrics", headers={"Host": "evil.example"}).status_code == 401


@pytest.mark.extras(*EXTRAS)
def test_the_command_refuses_and_allows(heard):
    def status(address, host):
        place = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
        try:
            place.request("GET", "/metrics", headers={"Host": host})
            return place.getresponse().status
        finally:
            place.close()

    with service(heard, "--allow-host", "labels", "--allow-host", "two.example") as (_, at, told):
        assert "Traceback" not in told
        hosts = ("labels:80", "two.example", "localhost", "evil.example")
        assert [status(at, host) for host in hosts] == [200, 200, 200, 421]
