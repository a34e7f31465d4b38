"""Downloads of weights against a server that breaks off, lies, stalls and refuses."""

import errno
import os
import shutil
import ssl
import subprocess
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from weight_server import (
    CONTENT,
    OTHER,
    SHA256,
    breaks,
    catalogue_entry,
    fails,
    ignores_ranges,
    other,
    serve,
    stalls,
    whole,
)

from cellsieve import download
from cellsieve.errors import UserError

AT_ONCE = (0, 0, 0)


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    urllib.request.install_opener(None)  # it remembers the proxies of its first use


def fetch(server, folder, **changes):
    return download.fetch(catalogue_entry(server.address, **changes), folder, 5, AT_ONCE)


def starts(server):
    return [begin for _, begin in server.asked]


def part_of(folder):
    return folder / ".tiny.pth.part"


def leave_part(folder, content):
    folder.mkdir(exist_ok=True)
    part_of(folder).write_bytes(content)


def complaint(server, folder, **changes):
    """Return the one line of a download that must fail, and check what each of them says."""
    with pytest.raises(ConnectionError) as error:
        fetch(server, folder, **changes)
    line = str(error.value)
    assert "\n" not in line
    for told in ("tiny.pth", SHA256, str(len(CONTENT)), str(folder / "tiny.pth")):
        assert told in line
    assert not (folder / "tiny.pth").exists()
    return line


def test_file_arrives_whole_and_nothing_else_is_left(tmp_path):
    with serve(whole) as server:
        file = fetch(server, tmp_path / "new" / "folder")
    assert file == tmp_path / "new" / "folder" / "tiny.pth"
    assert file.read_bytes() == CONTENT
    assert list(file.parent.iterdir()) == [file]


def test_break_is_gone_on_from(tmp_path):
    with serve(breaks, breaks, whole) as server:
        file = fetch(server, tmp_path)
        assert starts(server) == [0, 100_000, 200_000]
    assert file.read_bytes() == CONTENT


def test_stall_is_given_up_and_gone_on_from(tmp_path):
    with serve(stalls, whole) as server:
        weights = catalogue_entry(server.address)
        file = download.fetch(weights, tmp_path, stall=0.2, waits=AT_ONCE)
        assert starts(server) == [0, 100_000]
    assert file.read_bytes() == CONTENT


def test_tries_are_limited_and_what_came_is_kept_for_the_next_process(tmp_path):
    with serve(partial(breaks, count=1000)) as server:
        line = complaint(server, tmp_path)
        assert len(server.asked) == 1 + len(AT_ONCE)
    assert "broken off after 4000 of 300000 bytes" in line
    assert part_of(tmp_path).read_bytes() == CONTENT[:4000]
    with serve(whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert starts(server) == [4000]
    assert not part_of(tmp_path).exists()


def test_server_that_ignores_ranges_starts_again(tmp_path):
    with serve(breaks, ignores_ranges) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_other_range_than_asked_for_is_not_appended(tmp_path):
    def off_by_one(handler, begin):
        whole(handler, begin + 1)

    with serve(breaks, off_by_one, whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert starts(server) == [0, 100_000, 0]


def test_part_that_the_server_cannot_go_on_from_is_dropped(tmp_path):
    leave_part(tmp_path, CONTENT[:-1])
    with serve(fails(416), whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert starts(server) == [len(CONTENT) - 1, 0]


@pytest.mark.parametrize("left", [OTHER[:1000], OTHER, OTHER + OTHER])
def test_part_of_another_file_is_replaced(tmp_path, left):
    leave_part(tmp_path, left)
    with serve(whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert starts(server)[-1] == 0


def test_complete_part_needs_no_network(tmp_path):
    leave_part(tmp_path, CONTENT)
    with serve(fails(404)) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert not server.asked


def test_wrong_content_is_deleted_and_said(tmp_path):
    with serve(other) as server:
        line = complaint(server, tmp_path)
        assert len(server.asked) == 1
    assert "gives another file" in line
    assert list(tmp_path.iterdir()) == []


def test_wrong_size_is_refused_before_it_is_downloaded(tmp_path):
    def login_page(handler, begin):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", "13")
        handler.end_headers()
        handler.wfile.write(b"<html></html>")

    leave_part(tmp_path, CONTENT[:1000])
    with serve(login_page) as server:
        assert "13 bytes of text/html" in complaint(server, tmp_path)
    assert part_of(tmp_path).read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-1]])
def test_unannounced_length_that_is_wrong_is_refused(tmp_path, content):
    def unannounced(handler, begin):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)

    with serve(unannounced) as server:
        complaint(server, tmp_path)


def test_broken_chunks_are_gone_on_from(tmp_path):
    def chunked(handler, begin):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3e8\r\n" + CONTENT[:1000] + b"\r\n3e8\r\n" + CONTENT[1000:1500])
        handler.close_connection = True

    with serve(chunked, whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert starts(server) in ([0, 1000], [0, 1500])


@pytest.mark.parametrize("code", [401, 403, 404, 407, 410])
def test_lasting_http_error_is_not_tried_again(tmp_path, code):
    with serve(fails(code)) as server:
        assert f"HTTP error {code}" in complaint(server, tmp_path)
        assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_passing_http_error_is_tried_again(tmp_path, code):
    with serve(fails(code), whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_silent_server_is_given_up(tmp_path):
    def silent(handler, begin):
        handler.server.closing.wait()

    with serve(silent) as server, pytest.raises(ConnectionError, match="timed out"):
        download.fetch(catalogue_entry(server.address), tmp_path, 0.1, (0,))


def test_unknown_host_is_said(tmp_path):
    weights = catalogue_entry("http://no-such-host.invalid")
    with pytest.raises(ConnectionError, match=r"no connection to http://no-such-host\.invalid"):
        download.fetch(weights, tmp_path, 5, ())


def test_server_without_tls_is_said(tmp_path):
    with serve(whole) as server:
        address = server.address.replace("http:", "https:")
        with pytest.raises(ConnectionError, match="SSL"):
            download.fetch(catalogue_entry(address), tmp_path, 5, ())


def test_proxy_that_lets_no_tls_through_is_said(tmp_path, monkeypatch):
    weights = catalogue_entry("https://weights.invalid")
    with serve(fails(407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.address)
        monkeypatch.delenv("no_proxy")
        with pytest.raises(ConnectionError, match="Tunnel connection failed: 407"):
            download.fetch(weights, tmp_path, 5, (0,))
        assert proxy.asked == [("weights.invalid:443", 0)] * 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
def test_untrusted_certificate_is_refused_at_once_and_trusted_one_accepted(tmp_path, monkeypatch):
    pem = tmp_path / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", pem, "-out", tmp_path / "own.crt"], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.crt", pem)
    with serve(whole) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        weights = catalogue_entry(server.address.replace("http:", "https:"))
        with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            download.fetch(weights, tmp_path / "w", 5, (60,))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.crt"))
        assert download.fetch(weights, tmp_path / "w", 5, ()).read_bytes() == CONTENT


def test_existing_right_file_needs_no_network(tmp_path):
    (tmp_path / "tiny.pth").write_bytes(CONTENT)
    with serve(fails(404)) as server:
        assert fetch(server, tmp_path) == tmp_path / "tiny.pth"
        assert not server.asked


def test_existing_wrong_file_is_refused_and_kept(tmp_path):
    (tmp_path / "tiny.pth").write_bytes(b"of someone else")
    with serve(whole) as server:
        with pytest.raises(UserError, match="another file or damaged") as error:
            fetch(server, tmp_path)
        assert not server.asked
    assert SHA256 in str(error.value)
    assert (tmp_path / "tiny.pth").read_bytes() == b"of someone else"


def test_shipped_file_is_checked_where_it_lies(tmp_path):
    shipped = tmp_path / "shipped.pth"
    weights = replace(catalogue_entry("http://x"), url=None, path=shipped)
    with pytest.raises(UserError, match="there is no file"):
        download.fetch(weights, tmp_path / "elsewhere")
    shipped.write_bytes(CONTENT)
    assert download.fetch(weights, tmp_path / "elsewhere") == shipped
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_full_disk_is_said_with_what_is_needed(tmp_path):
    part_of(tmp_path).symlink_to("/dev/full")
    with serve(whole) as server, pytest.raises(OSError, match="No space left") as error:
        fetch(server, tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert "tiny takes 300000 bytes" in error.value.strerror
    assert SHA256 in error.value.strerror  # which file to put where
    assert error.value.filename == str(part_of(tmp_path))


def test_file_system_without_locks_still_downloads(tmp_path, monkeypatch, caplog):
    def unsupported(*args):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(download.fcntl, "flock", unsupported)
    with serve(breaks, whole) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert "do not download twice" in caplog.text
