"""A small server that speaks as much of the Hugging Face hub's protocol as models need.

It keeps repositories as {file: bytes} a commit. Addresses are those of huggingface_hub:
/api/models/..., /ORG/NAME/resolve/COMMIT/FILE, /api/repos/create, preupload and commit. Faults are
what becomes of one request each, in order: (part of the address, what), see `Handler.fault`.
"""

import base64
import hashlib
import json
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants
from local_http import LocalHandler, LocalServer, listening

TOKEN = "hf_of_the_tests"


@dataclass
class Repo:
    """One model repository."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def add(self, files, ref="main"):
        """Adds a commit that holds `files` beside what the branch held; returns its number."""
        whole = {**self.commits.get(self.refs.get(ref, ""), {}), **files}
        text = repr((sorted((n, sha(data)) for n, data in whole.items()), len(self.commits)))
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = whole
        self.refs[ref] = commit
        return commit


def sha(data):
    return hashlib.sha256(data).hexdigest()


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubServer(LocalServer):
    """Keeps repositories, and what it was asked as (method, address, has a token?)."""

    def __init__(self, faults):
        super().__init__(Handler)
        self.repos, self.asked, self.faults = {}, [], list(faults)

    def repo(self, name, folder=None, **kind):
        """Returns a repository that is made now, with the files of a folder."""
        self.repos[name] = repo = Repo(**kind)
        files = {p.relative_to(folder).as_posix(): p.read_bytes()
                 for p in folder.rglob("*") if p.is_file()} if folder else {}  # fmt: skip
        repo.add({".gitattributes": b"*.safetensors filter=lfs", **files})
        return repo

    def fetched(self):
        """Returns the names of the files whose bytes were sent."""
        return [unquote(where.rpartition("/")[2]) for how, where, _ in self.asked
                if how == "GET" and "/resolve/" in where]  # fmt: skip


class Handler(LocalHandler):
    server: HubServer

    def do_GET(self):
        self.handle_request()

    def do_HEAD(self):
        self.handle_request()

    def do_POST(self):
        self.handle_request()

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self.chunks()
        where = urlsplit(self.path).path
        self.known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        with self.server.lock:
            self.server.asked.append((self.command, where, "Authorization" in self.headers))
            faults = self.server.faults
            hit = next((f for f in faults if f[0] in where and f[1][0] in ("", self.command)), None)
            if hit is not None:
                faults.remove(hit)
        if hit is not None and hit[1][1] != "cut":
            return self.refuse(hit[1][1], "Internal Error")
        self.cut = hit is not None
        for pattern, answer in ROUTES:
            if match := re.fullmatch(pattern, where):
                return answer(self, *(unquote(part) for part in match.groups()))
        return self.refuse(404, "Not Found")

    def chunks(self):
        """Returns a body that was sent in chunks."""
        found = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return found

    def send(self, status, value, **headers):
        data = self.head(status, value, **headers)
        if self.command == "HEAD":
            return
        if self.cut:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(data)

    def refuse(self, status, message, code=""):
        self.cut = False
        said = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.send(status, {"error": message}, **said)

    def found(self, name, revision="main"):
        """Returns (repository, commit) that the asker may see; answers and returns None if none."""
        repo = self.server.repos.get(name)
        sent = "Authorization" in self.headers
        if sent and not self.known:
            return self.refuse(401, "Invalid credentials in Authorization header")
        if repo is None or (repo.private and not self.known):
            if sent:
                return self.refuse(404, "Repository not found", "RepoNotFound")
            return self.refuse(401, "Invalid username or password.")
        if repo.gated:
            return self.refuse(403, "Access to this model is restricted", "GatedRepo")
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self.refuse(404, "Invalid rev id", "RevisionNotFound")
        return repo, commit

    def describe(self, name, revision="main"):
        if hit := self.found(name, revision):
            repo, commit = hit
            siblings = [{"rfilename": n, "size": len(data), "blobId": blob_id(data)}
                        for n, data in repo.commits[commit].items()]  # fmt: skip
            self.send(200, {"_id": "1", "id": name, "modelId": name, "sha": commit, "tags": [],
                            "private": repo.private, "siblings": siblings})  # fmt: skip

    def tree(self, name, revision):
        if hit := self.found(name, revision):
            repo, commit = hit
            self.send(200, [{"type": "file", "path": n, "size": len(data), "oid": blob_id(data)}
                            for n, data in repo.commits[commit].items()])  # fmt: skip

    def resolve(self, name, revision, file):
        hit = self.found(name, revision)
        if not hit:
            return None
        repo, commit = hit
        data = repo.commits[commit].get(file)
        if data is None:
            return self.refuse(404, "Entry not found", "EntryNotFound")
        head = {"ETag": f'"{blob_id(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, size = int(asked[1]), len(data)
            head["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            return self.send(206, data[start:], **head)
        return self.send(200, data, **head)

    def create(self):
        if not self.known:
            return self.refuse(401, "Invalid username or password.")
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "lab":
            return self.refuse(403, "You don't have the rights to create a model there")
        hidden = wanted.get("private") or wanted.get("visibility") == "private"
        self.server.repo(name, private=bool(hidden))
        return self.send(200, {"url": f"{self.server.address}/{name}"})

    def validate(self):
        self.send(200, {"errors": [], "warnings": []})

    def preupload(self, name, revision):
        if self.found(name, revision):
            files = json.loads(self.body)["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in files]  # fmt: skip
            self.send(200, {"files": told})

    def commit(self, name, revision):
        hit = self.found(name, revision)
        if not hit:
            return None
        if not self.known:
            return self.refuse(403, "Forbidden: no write access")
        lines = [json.loads(line) for line in self.body.decode().splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent and parent != hit[1]:
            return self.refuse(412, "A commit has happened since. Please refresh and try again.")
        files = {line["value"]["path"]: base64.b64decode(line["value"]["content"])
                 for line in lines[1:]}  # fmt: skip
        oid = hit[0].add(files, revision)
        where = f"{self.server.address}/{name}/commit/{oid}"
        return self.send(200, {"success": True, "commitOid": oid, "commitUrl": where})


NAME = r"([^/]+/[^/]+)"
ROUTES = [
    (rf"/api/models/{NAME}", Handler.describe),
    (rf"/api/models/{NAME}/revision/([^/]+)", Handler.describe),
    (rf"/api/models/{NAME}/tree/([^/]+)", Handler.tree),
    (rf"/api/models/{NAME}/preupload/([^/]+)", Handler.preupload),
    (rf"/api/models/{NAME}/commit/([^/]+)", Handler.commit),
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.validate),
    (rf"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
]


def hub_server(faults=()):
    """Returns a hub on this machine, for a with statement.

    A fault is (part of an address, (method or "", status or "cut")).
    """
    return listening(HubServer(faults))


@contextmanager
def no_hub():
    """Yields the address of a port that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def own_places(monkeypatch, folder, token=""):
    """Gives a test an empty cache, a token or none, and a working folder of its own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "none"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", token)
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
