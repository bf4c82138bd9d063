"""What the small servers of the tests share: threads, an address, answers with a length."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LocalServer(ThreadingHTTPServer):
    """Listens on this machine at a port of its own; `lock` is for what its handlers keep."""

    daemon_threads = True

    def __init__(self, handler, path=""):
        super().__init__(("127.0.0.1", 0), handler)
        self.lock = threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """Says nothing: who hangs up is part of the tests."""


class LocalHandler(BaseHTTPRequestHandler):
    """Answers one request; logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def head(self, status, value, **headers):
        """Sends the head of an answer and returns its bytes; `Retry_After` is Retry-After."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, content in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), content)
        self.end_headers()
        return data


@contextmanager
def listening(server):
    """Yields a server that answers until it is left."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
