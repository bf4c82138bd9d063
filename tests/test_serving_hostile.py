"""What a service is sent in bad faith: each is refused in a sentence, and it goes on labelling."""

import gzip
import io
import json
import struct
import time

import numpy as np
import pytest
import soundfile
from served_run import EXTRAS, exchanged, listening
from starlette.testclient import TestClient

pytestmark = pytest.mark.extras(*EXTRAS)
LEAKS = ("Traceback", "/home", "/tmp", "/work", ".py", "site-packages", "passwd")


@pytest.fixture(scope="module")
def labeller(heard):
    from semi.serving.labelling import RunLabeller

    labeller = RunLabeller(heard)
    labeller.warm_up()
    return labeller


def app_of(labeller):
    from semi.serving.app import ServiceLimits, serving_app
    from semi.serving.uploads import UploadLimits

    return serving_app(labeller, ServiceLimits(UploadLimits(bytes=2_000_000, seconds=0.5)))


@pytest.fixture(scope="module")
def sound(heard):
    return sorted((heard.parents[1] / "audio").glob("*"))[0].read_bytes()


@pytest.fixture(scope="module")
def opened(labeller):
    with TestClient(app_of(labeller)) as client:
        yield client


@pytest.fixture
def client(opened, sound):
    """A client of the service, which labels a good sound after whatever it was sent."""
    yield opened
    assert opened.post("/predict", files={"file": sound}).status_code == 200
    service = opened.app.state.service
    assert service.open == 0 and service.batcher.waiting == 0


def refusal(answer, status):
    """Returns the sentence of a refusal, which tells nothing of the machine."""
    assert answer.status_code == status, answer.text
    sentence = answer.json()["error"]
    assert sentence and "\n" not in sentence and len(sentence) < 300
    assert not any(word in answer.text for word in LEAKS)
    return sentence


def wav(declared, frames):
    """A WAV file of 16 bits whose header says another length than it has."""
    data = np.full(frames, 8_000, dtype="<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", (declared + 36) % 2**32, b"WAVE", b"fmt ", 16,
                       1, 1, 16_000, 32_000, 2, 16, b"data", declared % 2**32)  # fmt: skip
    return head + data


def flac(seconds, rate=8_000):
    """Silence as FLAC: a minute of it is some hundred bytes."""
    out = io.BytesIO()
    noise = np.zeros(int(seconds * rate), dtype=np.int16)
    noise[::1000] = 30
    soundfile.write(out, noise, rate, format="FLAC")
    return out.getvalue()


NO_SOUNDS = {
    "nothing": (b"", "empty"),
    "a text": (b"hello, I am no sound " * 50, "unreadable"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(500), "unreadable"),
    "an archive": (b"PK\x03\x04" + bytes(500), "unreadable"),
    "a page": (b"<html><script>alert(1)</script></html>", "unreadable"),
    "a pickle": (b"\x80\x04\x95cos\nsystem\n.", "unreadable"),
    "a bare header": (b"RIFF\xff\xff\xff\xffWAVE", ""),
    "zeros": (bytes(100_000), "unreadable"),
    "hours in 100 bytes": (wav(4_000_000_000, 50), ""),
    "two seconds in 100 bytes": (wav(64_000, 50), ""),
    "ten minutes in a small file": (flac(600), "too long: this model takes sounds of up to"),
    "a hundredth of a second": (wav(320, 160), "too short: this model takes sounds from"),
}


@pytest.mark.parametrize("name", NO_SOUNDS)
def test_what_is_no_sound_is_told_why(client, name):
    content, told = NO_SOUNDS[name]
    begun = time.process_time()
    sentence = refusal(client.post("/predict", files={"file": content}), 422)
    assert sentence.startswith(told) and "data." not in sentence
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_sound_that_was_cut_off_is_told(client, sound, share):
    content = sound[: int(len(sound) * share)]
    refusal(client.post("/predict", files={"file": content}), 422)


def test_a_flac_header_that_claims_days_is_not_believed(client):
    content = bytearray(flac(2))
    content[21:26] = (content[21] & 0xF0 | 0xF).to_bytes(1, "big") + b"\xff\xff\xff\xff"
    refusal(client.post("/predict", files={"file": bytes(content)}), 422)


@pytest.mark.parametrize("name", [
    "../../etc/passwd", "/etc/passwd", "C:\\boot.ini", "a\\..\\b", "..%2f..%2fx", "$(id).wav",
    "x.wav\"; name=\"text", "naïve 😀.wav",
])  # fmt: skip
def test_names_of_files_play_no_part(client, sound, name):
    answer = client.post("/predict", files={"file": (name, sound)})
    assert answer.status_code == 200 and name not in answer.text
    assert name not in refusal(client.post("/predict", files={"file": (name, b"x")}), 422)


def test_a_body_that_is_too_large_is_refused_by_what_it_says_and_by_what_it_is(client):
    large = bytes(3_000_000)
    told = (
        "the body is larger than 2 MB; send fewer or shorter sounds, or as flac, mp3, ogg or opus"
    )
    assert refusal(client.post("/predict", files={"file": large}), 413) == told

    def stream():  # without a length
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(100_000)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert refusal(client.post("/predict", content=stream(), headers=kind), 413) == told
    assert refusal(client.post("/predict/batch", files={"file": large}), 413) == told
    answer = client.post("/predict/batch", content=b"[" * 3_000_000,
                         headers={"Content-Type": "application/json"})  # fmt: skip
    assert refusal(answer, 413) == told


def test_a_form_of_too_many_parts_is_refused(client, sound):
    many = [("file", b"x")] * 1_000
    assert "at most 1 file" in refusal(client.post("/predict", files=many[:2]), 400)
    assert "at most 32 files" in refusal(client.post("/predict/batch", files=many), 400)
    texts = [("text", (None, "a"))] * 1_000
    assert "at most 32 files" in refusal(client.post("/predict/batch", files=texts), 400)
    fields = {f"f{k}": (None, "a") for k in range(1_000)}
    refusal(client.post("/predict", files=fields), 400)
    assert "there is no part path" in refusal(
        client.post("/predict", files={"path": (None, "x")}), 422
    )
    long = {"text": (None, "a" * 100_000)}
    refusal(client.post("/predict", files=long), 413)
    assert "at most 20,000 are read" in refusal(
        client.post("/predict", files={"text": (None, "a" * 30_000)}), 422
    )
    assert "as a file" not in refusal(client.post("/predict", files={"file": (None, "text")}), 422)
    two = [("file", sound), ("file", sound), ("text", (None, "a"))]
    assert "2 files but 1 text" in refusal(client.post("/predict/batch", files=two), 422)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "audio/wav",
                                  "multipart/mixed; boundary=x",
                                  "application/x-www-form-urlencoded"])  # fmt: skip
def test_another_kind_of_body_is_refused(client, sound, kind):
    answer = client.post("/predict", content=sound, headers={"Content-Type": kind} if kind else {})
    assert "multipart/form-data" in refusal(answer, 415)


@pytest.mark.parametrize("body, kind", [
    (b"", "multipart/form-data; boundary=x"), (b"garbage", "multipart/form-data; boundary=x"),
    (b"--x\r\n", "multipart/form-data; boundary=x"), (b"--x\r\n\r\n", "multipart/form-data"),
    (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x"),
    (b"--x\r\nA: " + b"b" * 60_000 + b"\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x"),
    (gzip.compress(b"--x--" * 1_000, mtime=0), "multipart/form-data; boundary=x"),
    (b"--x--", "multipart/form-data; boundary=" + "y" * 5_000),
])  # fmt: skip
def test_a_broken_form_is_refused(client, body, kind):
    answer = client.post("/predict", content=body, headers={"Content-Type": kind})
    refusal(answer, answer.status_code)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b"[" * 100_000, 400), (b"[]", 422), (b"3", 422),
    (b'{"rows": []}', 422), (b'{"rows": [{}]}', 422), (b'{"rows": [3]}', 422),
    (b'{"rows": [{"file": "/etc/shadow"}]}', 422), (b'{"rows": [{"text": 3}]}', 422),
    (b'{"rows": [{"text": "a", "vectors": 3}]}', 422),
    (b'{"rows": [{"vectors": {"speech": [NaN]}}]}', 422),
    (json.dumps({"rows": [{"text": "a"}] * 10_000}).encode(), 413),
])  # fmt: skip
def test_a_strange_json_is_refused(client, body, status):
    kind = {"Content-Type": "application/json"}
    refusal(client.post("/predict/batch", content=body, headers=kind), status)


def test_other_addresses_and_methods_are_told(client):
    for path in ("/", "/../etc/passwd", "/predict/../../x", "/PREDICT", "/docs/x", "/%00"):
        assert "/docs lists them" in refusal(client.get(path), 404)
    assert "another method" in refusal(client.get("/predict"), 405)
    assert "another method" in refusal(client.delete("/health"), 405)


def head(*lines, length=None):
    given = [b"POST /predict HTTP/1.1", b"Host: x",
             b"Content-Type: multipart/form-data; boundary=b", *lines]  # fmt: skip
    given += [b"Content-Length: %d" % length] if length is not None else []
    return b"\r\n".join(given) + b"\r\n\r\n"


def test_on_a_bare_connection(labeller, sound):
    app = app_of(labeller)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with listening(app) as place:
        # a length of terabytes: refused before anything of the body comes
        answer = exchanged(place, head(length=10**13))
        assert b" 413 " in answer.splitlines()[0] and b"larger than 2 MB" in answer
        # a body that drips, or never comes: refused when its time is over
        for pieces in (
            [head(length=1_000)],
            [head(length=1_000), *(part[k : k + 1] for k in range(30))],
        ):
            answer = exchanged(place, *pieces, pause=0.05)
            assert b" 408 " in answer.splitlines()[0] and b"did not come within 0.5 s" in answer
        # who goes away in the middle costs nothing
        for _ in range(20):
            import socket

            with socket.create_connection(place) as connection:
                connection.sendall(head(length=100_000) + part + bytes(1_000))
        for line in (b"Content-Length: -5", b"Content-Length: x", b"Transfer-Encoding: zip"):
            assert exchanged(place, head(line))[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501")
        assert b" 400 " in exchanged(place, b"\x16\x03\x01\x02\x00nonsense\r\n\r\n").splitlines()[0]
        body = part + sound + b"\r\n--b--\r\n"
        close = b"Connection: close"
        answer = exchanged(place, head(close, length=len(body)) + body)
        assert b" 200 " in answer.splitlines()[0] and b'"label"' in answer
        until = time.monotonic() + 30
        while app.state.service.open and time.monotonic() < until:
            time.sleep(0.01)
        assert app.state.service.open == 0


def test_nothing_of_a_client_is_left_on_the_disk(client, sound, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client.post("/predict", files={"file": ("kept.wav", sound + bytes(1_500_000))})
    client.post("/predict/batch", files=[("file", ("kept.wav", sound))] * 3)
    assert list(tmp_path.iterdir()) == []
