"""A server on the loopback in place of the official ones, and a cache folder of each test's own."""

import contextlib
import hashlib
import http.server
import threading

import pytest

import homeostat.data._download as download
from homeostat.data import RemoteFile


class Server:
    """Serves `contents` by name; names in `cut` break off half way; `requests` counts what was asked for."""

    def __init__(self):
        self.contents, self.cut, self.requests = {}, set(), []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                outer.requests.append(name)
                if name not in outer.contents:
                    self.send_error(404)
                    return
                content = outer.contents[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if name in outer.cut else content)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.http.shutdown()
            self.http.server_close()
            self.thread.join()

    def offer(self, name: str, content: bytes) -> RemoteFile:
        """Serve a file; how it would be described in a loader."""
        self.contents[name] = content
        return RemoteFile(self.address + name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "_TIMEOUT_S", 5.0)
    running = Server()
    yield running
    running.close()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The cache folder of the user, empty, and no folder with copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HOMEOSTAT_DATA", raising=False)
    return tmp_path / "cache" / "homeostat" / "data"
