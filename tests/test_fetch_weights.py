"""fetch_weights.py by its command line: killed, twice at once, behind a proxy, on a full disk."""

import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import yaml
from weight_server import CONTENT, SHA256, catalogue_entry, fails, head, serve, stalls, whole

SCRIPT = Path(__file__).parents[1] / "scripts" / "fetch_weights.py"
PROXIES = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}


def write_models(folder, address):
    entry = {k: v for k, v in asdict(catalogue_entry(address)).items() if v is not None}
    models = folder / "models.yaml"
    models.write_text(yaml.safe_dump([entry]), encoding="utf-8")
    return models


def start(folder, address, name="tiny", variables=None, **options):
    """Start the script; its outputs are pipes."""
    models = write_models(folder, address)
    clean = {k: v for k, v in os.environ.items() if k.lower() not in PROXIES}
    return subprocess.Popen(
        [sys.executable, SCRIPT, "--models", models, "--name", name, "--folder", folder / "w"],
        env=clean | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    """Return exit status, output and the last line of the messages."""
    out, messages = process.communicate(timeout=60)
    return process.returncode, out.strip(), messages.strip().splitlines()[-1]


def wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_prints_where_the_file_lies(tmp_path):
    with serve(whole) as server:
        status, out, _ = finish(start(tmp_path, server.address))
    assert (status, out) == (0, str(tmp_path / "w" / "tiny.pth"))
    assert Path(out).read_bytes() == CONTENT


def test_killed_download_is_gone_on_from(tmp_path):
    part = tmp_path / "w" / ".tiny.pth.part"
    with serve(stalls, whole) as server:
        process = start(tmp_path, server.address)
        wait_until(lambda: part.exists() and part.stat().st_size == 100_000)
        process.kill()
        process.communicate()
        assert finish(start(tmp_path, server.address))[0] == 0
        assert [begin for _, begin in server.asked] == [0, 100_000]
    assert (tmp_path / "w" / "tiny.pth").read_bytes() == CONTENT
    assert not part.exists()


def test_second_process_waits_and_downloads_nothing(tmp_path):
    second_waits = threading.Event()

    def slow(handler, begin):
        head(handler, begin)
        handler.wfile.write(CONTENT[:1000])
        second_waits.wait(20)
        handler.wfile.write(CONTENT[1000:])

    with serve(slow) as server:
        first = start(tmp_path, server.address)
        wait_until(lambda: server.asked)
        second = start(tmp_path, server.address)
        assert "waiting for it" in second.stderr.readline()
        second_waits.set()
        assert finish(first)[0] == finish(second)[0] == 0
        assert len(server.asked) == 1
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["tiny.pth"]
    assert (tmp_path / "w" / "tiny.pth").read_bytes() == CONTENT


def test_disk_limit_is_one_line_and_what_came_is_gone_on_from(tmp_path):
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (50_000, 50_000))
    with serve(whole) as server:
        status, _, line = finish(start(tmp_path, server.address, preexec_fn=limit))
        part = tmp_path / "w" / ".tiny.pth.part"
        assert status == 1
        assert line.startswith("error: File too large; tiny takes 300000 bytes; put the file")
        assert line.endswith(f": {part}")
        assert finish(start(tmp_path, server.address))[0] == 0
        assert [begin for _, begin in server.asked] == [0, 50_000]
    assert (tmp_path / "w" / "tiny.pth").read_bytes() == CONTENT


def test_failure_is_one_line_that_says_what_to_put_where(tmp_path):
    with serve(fails(403)) as server:
        status, out, line = finish(start(tmp_path, server.address))
    url = f"{server.address}/tiny.pth"
    assert (status, out) == (1, "")
    assert line == (
        f"error: tiny cannot be downloaded: HTTP error 403 (Forbidden) at {url}; put the file"
        f" tiny.pth from {url} (300000 bytes, sha256 {SHA256}) at {tmp_path / 'w' / 'tiny.pth'}"
    )


def test_unknown_name_is_the_users_mistake(tmp_path):
    status, _, line = finish(start(tmp_path, "http://x", name="big"))
    assert (status, line) == (2, "error: --name big: must be one of tiny")


def test_proxy_is_used(tmp_path):
    with serve(whole) as proxy:
        process = start(tmp_path, "http://weights.invalid", variables={"http_proxy": proxy.address})
        assert finish(process)[0] == 0
        assert proxy.asked == [("http://weights.invalid/tiny.pth", 0)]


def test_proxy_that_wants_a_password_is_said(tmp_path):
    with serve(fails(407)) as proxy:
        process = start(tmp_path, "http://weights.invalid", variables={"http_proxy": proxy.address})
        status, _, line = finish(process)
        assert len(proxy.asked) == 1
    assert status == 1
    assert "HTTP error 407" in line


def test_no_proxy_is_respected(tmp_path):
    with serve(whole) as server, serve(fails(500)) as proxy:
        variables = {"http_proxy": proxy.address, "no_proxy": "127.0.0.1"}
        assert finish(start(tmp_path, server.address, variables=variables))[0] == 0
        assert not proxy.asked


def test_fetching_needs_no_torch():
    code = "import sys; import cellsieve.download; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SCRIPT.parent)
