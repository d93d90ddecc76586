"""A small Hub: the endpoints that huggingface_hub uses to make, push and fetch a model repository.

Everything lives in memory. It checks what the real one checks: tokens, owners, parent commits, LFS
digests and sizes. Large files travel over basic LFS; it has no Xet storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub.constants
import pytest

INITIAL = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
LFS_FROM = 10 * 1024 * 1024


class Refused(Exception):
    """An HTTP error to be sent as the Hub sends it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass
class Repository:
    """Commits by oid (path to content), and what the branches point to."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def add(self, ref: str, files: dict[str, bytes], message: str, parent: str | None) -> str:
        text = json.dumps([message, parent, sorted(files), len(self.commits)])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid], self.parents[oid], self.messages[oid] = files, parent, message
        self.refs[ref] = oid
        return oid

    def resolve(self, revision: str) -> str:
        if revision in self.refs:
            return self.refs[revision]
        if revision in self.commits:
            return revision
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    @property
    def head(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]]


@dataclass
class Hub:
    """The state of the server; tests read and change it from outside."""

    tokens: dict[str, str] = field(default_factory=lambda: {"hf_alice": "alice", "hf_bob": "bob"})
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    url: str = ""

    def push(self, repo_id: str, files: dict[str, bytes], message: str = "from outside") -> str:
        """A commit by somebody else, straight into the repository."""
        repository = self.repositories[repo_id]
        parent = repository.refs["main"]
        return repository.add("main", repository.head | files, message, parent)

    def create(self, repo_id: str, *, private: bool = False) -> Repository:
        repository = self.repositories[repo_id] = Repository(private)
        repository.add("main", dict(INITIAL), "initial commit", None)
        return repository


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers on a free loopback port while the block runs."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, str]] = [
    ("POST", r"/api/repos/create", "create_repo"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("GET", rf"/api/models/{REPO}(/revision/(?P<revision>[^/]+))?", "model_info"),
    ("GET", rf"/api/models/{REPO}/tree/(?P<revision>[^/]+)/?", "tree"),
    ("POST", rf"/api/models/{REPO}/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", rf"/api/models/{REPO}/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("POST", r"/lfs/verify", "lfs_verify"),
    ("GET", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The server, and a client that finds no token or cache of whoever runs the tests."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running_hub() as running:
        yield running


class Handler(BaseHTTPRequestHandler):
    """One request; the methods named in ROUTES return what is sent as JSON."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """The test's output is not the place for an access log."""

    def do_GET(self) -> None:
        self.answer("GET")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        self.body = self.read_body()
        self.hub.requests.append((self.command, parts.path))
        try:
            for wanted, pattern, name in ROUTES:
                match = re.fullmatch(pattern, parts.path)
                if match and wanted == method:
                    self.hub.before.pop(name, lambda: None)()
                    values = {k: unquote(v) if v else v for k, v in match.groupdict().items()}
                    result = getattr(self, name)(**values)
                    if result is not None:
                        self.send(200, json.dumps(result).encode())
                    return
            raise Refused(404, f"no endpoint {method} {parts.path}")
        except Refused as refused:
            body = json.dumps({"error": refused.message}).encode()
            headers = {"X-Error-Message": refused.message}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self.send(refused.status, body, headers)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # Who asks, and for what.

    def user(self) -> str | None:
        header = self.headers.get("Authorization", "")
        if not header:
            return None
        user = self.hub.tokens.get(header.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return user

    def readable(self, repo: str) -> Repository:
        user = self.user()
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and user != repo.split("/")[0]):
            status = 401 if user is None else 404
            raise Refused(status, "Repository not found", "RepoNotFound")
        return repository

    def writable(self, repo: str) -> Repository:
        repository = self.readable(repo)
        user = self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if user != repo.split("/")[0] and not self.query.get("create_pr"):
            raise Refused(403, f"you must use a write token of {repo.split('/')[0]}")
        return repository

    # Repositories.

    def create_repo(self) -> dict[str, Any]:
        wanted = json.loads(self.body)
        user = self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        owner = wanted.get("organization") or user
        if owner != user:
            raise Refused(403, f"You don't have the rights to create a model under {owner}")
        repo_id = f"{owner}/{wanted['name']}"
        if repo_id in self.hub.repositories:
            raise Refused(409, "You already created this model repo")
        self.hub.create(repo_id, private=wanted.get("visibility") == "private")
        return {"url": f"{self.hub.url}/{repo_id}", "name": repo_id, "id": repo_id}

    def validate_yaml(self) -> dict[str, Any]:
        content = json.loads(self.body)["content"]
        if not content.startswith("---\n"):
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}
        return {"errors": [], "warnings": []}

    def model_info(self, repo: str, revision: str | None) -> dict[str, Any]:
        repository = self.readable(repo)
        sha = repository.resolve(revision or "main")
        return {
            "id": repo,
            "modelId": repo,
            "sha": sha,
            "private": repository.private,
            "tags": [],
            "siblings": [{"rfilename": name} for name in sorted(repository.commits[sha])],
        }

    def tree(self, repo: str, revision: str) -> list[dict[str, Any]]:
        repository = self.readable(repo)
        files = repository.commits[repository.resolve(revision)]
        folders = {name.rsplit("/", 1)[0] for name in files if "/" in name}
        entries: list[dict[str, Any]] = [
            {"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders
        ]
        for name, content in sorted(files.items()):
            entry = {"type": "file", "path": name, "size": len(content), "oid": blob_oid(content)}
            if is_lfs(name, len(content)):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
            entries.append(entry)
        return entries

    # A commit: ask how, send the large files, then all the rest at once.

    def preupload(self, repo: str, revision: str) -> dict[str, Any]:
        repository = self.writable(repo)
        present = repository.commits[repository.resolve(revision)]
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_lfs(file["path"], file["size"]) else "regular",
                    "shouldIgnore": file["path"] in self.hub.ignored,
                    "oid": remote_oid(file["path"], present),
                }
                for file in json.loads(self.body)["files"]
            ]
        }

    def lfs_batch(self, repo: str) -> dict[str, Any]:
        self.readable(repo)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"], "authenticated": True}
            if wanted["oid"] not in self.hub.objects:
                entry["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}", "header": {}},
                    "verify": {"href": f"{self.hub.url}/lfs/verify", "header": {}},
                }
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, oid: str) -> dict[str, Any]:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "the content does not have this oid")
        self.hub.objects[oid] = self.body
        return {}

    def lfs_verify(self) -> dict[str, Any]:
        wanted = json.loads(self.body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refused(422, "size or oid does not match")
        return {}

    def commit(self, repo: str, revision: str) -> dict[str, Any]:
        repository = self.writable(repo)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        pull_request = bool(self.query.get("create_pr"))
        head = repository.resolve(revision)
        parent = header.get("parentCommit", head)
        if parent != head and not pull_request:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[parent])
        for line in lines[1:]:
            self.apply(line["key"], line["value"], files)
        number = sum(ref.startswith("refs/pr/") for ref in repository.refs) + 1
        ref = f"refs/pr/{number}" if pull_request else revision
        oid = repository.add(ref, files, header["summary"], parent)
        url = f"{self.hub.url}/{repo}"
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}"}
        if pull_request:
            answer["pullRequestUrl"] = f"{url}/discussions/{number}"
        return answer

    def apply(self, key: str, value: dict[str, Any], files: dict[str, bytes]) -> None:
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            content = self.hub.objects.get(value["oid"])
            if content is None or len(content) != value["size"]:
                raise Refused(422, f"LFS object of {value['path']} was not uploaded")
            files[value["path"]] = content
        elif key == "deletedFile":
            if value["path"] not in files:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            del files[value["path"]]
        else:
            raise Refused(400, f"unknown operation {key}")

    # Files.

    def resolve(self, repo: str, revision: str, path: str) -> None:
        repository = self.readable(repo)
        sha = repository.resolve(revision)
        content = repository.commits[sha].get(path)
        if content is None:
            raise Refused(404, "Entry not found", "EntryNotFound")
        lfs = is_lfs(path, len(content))
        etag = hashlib.sha256(content).hexdigest() if lfs else blob_oid(content)
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": f'"{etag}"',
            "X-Repo-Commit": sha,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self.send(200, content, headers)
        start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return self.send(206, content[start : end + 1], headers)


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(".safetensors") or size >= LFS_FROM


def blob_oid(content: bytes) -> str:
    """What git calls the content."""
    return hashlib.sha1(b"blob %d\x00" % len(content) + content).hexdigest()


def remote_oid(path: str, present: dict[str, bytes]) -> str | None:
    if path not in present:
        return None
    content = present[path]
    lfs = is_lfs(path, len(content))
    return hashlib.sha256(content).hexdigest() if lfs else blob_oid(content)
