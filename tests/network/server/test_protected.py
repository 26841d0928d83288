"""Protections on a network: the same as in one process."""

import json

import pytest
from foreseen import foresee
from jobs import tiny_rows
from nets import ALL, PROTOCOLS, DirectLine, at_server, net_job, same_adapter, write_site

from fedtailor.running import run

SITES = ("site-1", "site-2", "site-3")
EVALUATION = {"every": 2, "generate": {"max_new_tokens": 2}}


@pytest.fixture
def three(net):
    """Return a line to three sites with a third of the rows each."""
    kits = {site: net.folder / site for site in SITES}
    for number, (site, kit) in enumerate(kits.items()):
        (kit / "local").mkdir(parents=True, exist_ok=True)
        file = net.folder / f"{site}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows()[number::3]))
        write_site(kit, file, net.backbone, ALL)
    line = DirectLine(kits)
    yield line
    line.close()


def test_client_level_privacy_gives_the_weights_and_the_account_of_a_local_run(net, three, monkeypatch):
    """Coins and noise are the server's, here from a source that can be repeated."""
    dp = {"kind": "dp", "noise_multiplier": 1.0, "epsilon": None, "clip": 0.5, "force": True}
    job = net_job(net, PROTOCOLS["averaging"], stop__rounds=2, protection=[dp], evaluation=EVALUATION)
    sources = [f"{site}.jsonl" for site in SITES]
    job = type(job).from_dict(
        {**job.to_dict(), "data": {"train": sources}, "clients": {**job.to_dict()["clients"], "fraction": 0.7}}
    )
    foresee(monkeypatch)
    local = run(job, out=net.folder / "local")
    foresee(monkeypatch)
    done = at_server(job, three, net.folder)
    assert (done.ended, done.text) == ("done", "")
    assert same_adapter(local.folder, done.folder)
    account = [json.loads((folder / "privacy.json").read_text()) for folder in (local.folder, done.folder)]
    assert account[0] == account[1]
    assert account[0]["releases"][0]["count"] == 2
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["privacy"] == local.summary["privacy"]
