"""A small server that speaks OpenAI's chat protocol, with the faults that real ones have."""

import json
import math
import re
import socket
import time

from local_http import LocalHandler, LocalServer, listening
from two_runs import WORDS

HANG = 3.0  # seconds of a server that does not answer


def judged(content):
    """Returns {label: probability} of the text in a prompt: by the words that the labels have."""
    text = content.partition("\n\n")[0].rpartition(": ")[2]
    first, *others = text.split()  # the first word is of the label, the others are of any
    found = {label: 0.05 + 2 * (first in words.split()) + sum(w in words.split() for w in others)
             for label, words in WORDS.items()}  # fmt: skip
    total = sum(found.values())
    return {label: share / total for label, share in found.items()}


def by_letters(body):
    """Returns a choice with the log-probabilities of the letters, as vLLM and Ollama give them."""
    content = body["messages"][0]["content"]
    letters = dict(re.findall(r"^([A-Z])\. (.+)$", content, re.MULTILINE))
    shares = judged(content)
    top = [{"token": f" {letter}", "logprob": math.log(max(shares.get(label, 0.01), 1e-9))}
           for letter, label in letters.items()]  # fmt: skip
    top.sort(key=lambda one: -one["logprob"])
    top = top[: body.get("top_logprobs", 5)]
    first = {"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top}
    return {"message": {"content": top[0]["token"]}, "logprobs": {"content": [first]}}


def by_words(body):
    """Returns a choice of a server without log-probabilities: JSON where JSON is asked for."""
    content = body["messages"][0]["content"]
    shares = judged(content)
    if "JSON" in content:
        return {"message": {"content": f"```json\n{json.dumps(shares)}\n```"}}
    return {"message": {"content": max(shares, key=lambda label: shares[label]).upper() + "."}}


def of_text(text):
    """Returns what answers every question with the same text."""
    return lambda body: {"message": {"content": text}}


class ChatServer(LocalServer):
    """Keeps what it was asked; each fault in the list is what becomes of one request, in order."""

    def __init__(self, answer, faults):
        super().__init__(Handler, "/v1")
        self.answer, self.faults = answer, list(faults)
        self.bodies, self.headers, self.times = [], [], []


class Handler(LocalHandler):
    server: ChatServer

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
            self.server.times.append(time.monotonic())
            fault = self.server.faults.pop(0) if self.server.faults else None
        if self.path != "/v1/chat/completions":
            return self.reply(404, {"detail": "Not Found"})
        if fault is None:
            return self.answered(body)
        if callable(fault):
            return self.reply(200, {"choices": [fault(body)]})
        return getattr(self, f"fault_{fault[0]}")(body, *fault[1:])

    def answered(self, body, **headers):
        self.reply(200, {"choices": [{"index": 0, "finish_reason": "stop"}
                                     | self.server.answer(body)]}, **headers)  # fmt: skip

    def reply(self, status, value, **headers):
        self.wfile.write(self.head(status, value, **headers))

    def fault_status(self, body, status, value=None, **headers):
        self.reply(status, value or {"error": {"message": f"status {status}"}}, **headers)

    def fault_slow_down(self, body, seconds):
        self.reply(429, {"error": {"message": "slow down"}}, Retry_After=seconds)

    def fault_moved(self, body, target):
        self.reply(307, b"", Location=target)

    def fault_garbage(self, body, data=b"<html>gateway</html>"):
        self.reply(200, data)

    def fault_hang(self, body):
        time.sleep(HANG)
        self.close_connection = True

    def fault_drip(self, body):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(int(HANG / 0.1)):
            self.wfile.write(b" ")
            time.sleep(0.1)
        self.close_connection = True

    def fault_drop(self, body):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def fault_odd_length(self, body):
        self.answered(body, Content_Length="some")
        self.close_connection = True

    def fault_short(self, body):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.close_connection = True


def chat_server(answer=by_letters, faults=()):
    """Returns a server for a with statement that answers questions by `answer`."""
    return listening(ChatServer(answer, faults))
