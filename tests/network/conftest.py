import json
import subprocess
from types import SimpleNamespace

import pytest
from nets import SITES, DirectLine, at_server, write_rows, write_site
from zygote import Zygote

from fedtailor.network.command import submitted as handed
from fedtailor.network.site import model_keeper


@pytest.fixture(scope="session")
def zygote():
    """Return what forks processes of sites' models, so that each need not import everything again."""
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def net(tmp_path, tiny_backbone_folder, zygote, monkeypatch):
    """Return the folders of two sites that hold half of the rows each, and ways to run a job with them."""
    forking = SimpleNamespace(Popen=zygote.popen, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(model_keeper, "subprocess", forking)
    kits = {site: tmp_path / site for site in SITES}
    write_rows(tmp_path)
    for site, kit in kits.items():
        (kit / "local").mkdir(parents=True)
        write_site(kit, tmp_path / f"{site}.jsonl", tiny_backbone_folder)
    line = DirectLine(kits)
    yield SimpleNamespace(
        folder=tmp_path, kits=kits, line=line, backbone=tiny_backbone_folder, run=lambda job: at_server(job, line, tmp_path)
    )
    line.close()


@pytest.fixture
def hand_in(tmp_path, monkeypatch, make_job):
    """Return a way to play a script; events are returned beside the outcome."""
    for name in ("POLL_S", "STATUS_S", "SITES_S"):
        monkeypatch.setattr(handed, name, 0.0)

    def play(server, without=(), expected=()):
        events = []
        settings = {"run": "tiny-1", "job": json.loads(json.dumps(make_job().to_dict(), default=str))}
        watch = lambda kind, facts: events.append((kind, facts.get("text", "")))  # noqa: E731
        one = handed.Submitted(
            server, settings, place=tmp_path / "place", without=without, watcher=watch, path=tmp_path / "run", expected=expected
        )
        return one, events

    return play
