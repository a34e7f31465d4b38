"""The rule that fetches weights: what is there is never deleted, and not fetched twice."""

import os
import signal

import pytest
import yaml
from checkout import wait_for
from weight_server import CONTENT, SHA256, catalogue_entry, fails, serve, stalls, whole

FILE = "weights folder/tiny.pth"


@pytest.fixture
def laboratory(checkout):
    """Return a checkout whose only weights come from a server of the test."""

    def prepare(server, **changes):
        entry = {k: v for k, v in vars(catalogue_entry(server.address, **changes)).items() if v}
        models = checkout.folder / "resources" / "models.yaml"
        models.write_text(yaml.safe_dump([entry]), encoding="utf-8")
        checkout.configure(
            weights="weights folder", sam={"model": "tiny"}, anomaly={"method": "signs"}
        )
        return checkout

    return prepare


def content(made):
    return (made.folder / FILE).read_bytes()


def test_file_is_fetched_once_whatever_happens_to_dates_and_code(laboratory):
    with serve(whole, fails(404)) as server:
        made = laboratory(server)
        made.run("--cores", 1, FILE)
        os.utime(made.folder / FILE, (0, 0))
        script = made.folder / "scripts" / "fetch_weights.py"
        script.write_text(script.read_text() + "\nprint()\n")
        assert made.plan(FILE) == []
        made.run("--cores", 1, "--forcerun", "fetch_weights", "--", FILE)
        assert content(made) == CONTENT
        assert len(server.asked) == 1


def test_wrong_file_put_there_by_hand_is_refused_and_kept(laboratory):
    with serve(whole) as server:
        made = laboratory(server)
        (made.folder / FILE).parent.mkdir()
        (made.folder / FILE).write_bytes(b"another one")
        done = made.run("--cores", 1, "--forcerun", "fetch_weights", "--", FILE, check=False)
    assert done.returncode
    assert "tiny.pth is another file or damaged" in done.stdout
    assert SHA256 in done.stdout
    assert content(made) == b"another one"


def test_file_put_there_after_a_killed_download_is_kept(laboratory):
    with serve(stalls, fails(404)) as server:
        made = laboratory(server)
        run = made.start("--cores", 1, FILE)
        assert wait_for(lambda: server.asked, run)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        (made.folder / FILE).write_bytes(CONTENT)
        made.run("--cores", 1, FILE)
        assert content(made) == CONTENT
        assert len(server.asked) == 1


def test_mistake_in_the_catalogue_stops_before_any_job(laboratory):
    with serve(whole) as server:
        done = laboratory(server, sha256="abc").run("--dry-run", FILE, check=False)
    assert done.stdout.strip().splitlines()[-1].startswith("error: ")
    assert "entry 1: sha256 is 'abc'" in done.stdout
