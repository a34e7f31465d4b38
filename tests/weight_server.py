"""A real server for weight files that can break off, lie, stall and refuse."""

import hashlib
import random
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cellsieve.weights import WeightFile

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers each request by the next of ``answers``; the last one stays."""

    daemon_threads = True

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked = []  # of each request: what it asks for, and from which byte
        self.closing = threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        server.asked.append((self.path, begin))
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        answer(self, begin)

    def do_CONNECT(self):
        self.do_GET()

    def log_message(self, *args):
        pass


@contextmanager
def serve(*answers):
    """Run a server as long as the block lasts."""
    server = Server(*answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def whole(handler, begin, content=CONTENT):
    """Send what was asked for."""
    head(handler, begin, content)
    handler.wfile.write(content[begin:])


def head(handler, begin, content=CONTENT):
    """Announce what was asked for."""
    handler.send_response(206 if begin else 200)
    if begin:
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - begin))
    handler.end_headers()


def other(handler, begin):
    """Send a file of the same size and another content."""
    whole(handler, begin, OTHER)


def breaks(handler, begin, count=100_000):
    """Close the connection after some bytes."""
    head(handler, begin)
    handler.wfile.write(CONTENT[begin : begin + count])


def stalls(handler, begin, count=100_000):
    """Send some bytes, then nothing, with the connection open."""
    breaks(handler, begin, count)
    handler.wfile.flush()
    handler.server.closing.wait()


def ignores_ranges(handler, begin):
    """Send the file from its first byte, whatever was asked for."""
    whole(handler, 0)


def fails(code):
    """Return an answer that is an HTTP error."""
    return lambda handler, begin: handler.send_error(code)


def catalogue_entry(url, **changes):
    """Return the file that the server has."""
    values = {
        "name": "tiny",
        "what": "random bytes",
        "bytes": len(CONTENT),
        "sha256": SHA256,
        "licence": "CC0-1.0",
        "citation": "none",
        "url": f"{url}/tiny.pth",
    }
    return WeightFile(**values | changes)
