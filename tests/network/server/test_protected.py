"""Protections on a network: the same as in one process."""

import json

import pandas as pd
import pytest
from foreseen import foresee
from jobs import tiny_rows
from nets import ALL, LOCAL, PROTOCOLS, DirectLine, at_server, give_keys, net_job, same_adapter, write_site

from fedtailor.privacy.accountant import Release, epsilon_of
from fedtailor.running import run

SITES = ("site-1", "site-2", "site-3")
FIVE = (*SITES, "site-4", "site-5")
EVALUATION = {"every": 2, "generate": {"max_new_tokens": 2}}


@pytest.fixture
def three(net):
    """Return a line to three sites with a third of the rows each."""
    yield from _line(net, SITES)


@pytest.fixture
def five(net):
    """Return a line to five sites."""
    yield from _line(net, FIVE)


def _line(net, sites):
    kits = {site: net.folder / site for site in sites}
    for number, (site, kit) in enumerate(kits.items()):
        (kit / "local").mkdir(parents=True, exist_ok=True)
        file = net.folder / f"{site}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows()[number :: len(sites)]))
        write_site(kit, file, net.backbone, ALL)
    give_keys(kits)
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


def test_secure_sums_and_a_site_that_dies_before_it_trains(net, five, monkeypatch):
    """Five sites, of which one dies after it has shared its secrets: four are summed, as in one process."""
    secure = [{"kind": "secure-aggregation", "threshold": 4}]
    job = _of(net, FIVE, PROTOCOLS["averaging"], stop__rounds=1, protection=secure, evaluation=EVALUATION)
    seen = []

    def before(client, ticket):
        seen.append(client)
        if client == "site-5" and seen.count(client) == 5:  # evaluation, keys, shares, delivery; then the round's own request
            five.kill_model(client)

    five.before = before
    done = at_server(job, five, net.folder)
    assert (done.ended, done.text) == ("done", "")
    clients = pd.read_parquet(done.folder / "clients.parquet")
    assert clients.loc[clients["error"].isna(), "client"].tolist() == list(FIVE[:4])
    assert "update_norm" not in clients


def test_a_site_without_a_key_to_sign_with_refuses_secure_sums_alone(net, three):
    (net.folder / "site-2" / "local" / "agent.key").unlink()
    secure = _of(net, SITES, PROTOCOLS["averaging"], stop__rounds=1, protection=["secure-aggregation"], evaluation=EVALUATION)
    done = at_server(secure, three, net.folder / "secure")
    assert done.ended != "done"
    assert "site-2 refuses: this site has no key to sign secure sums with: fedtailor site request adds one" in done.text
    assert str(net.folder) not in done.text
    plain = _of(net, SITES, PROTOCOLS["averaging"], stop__rounds=1, evaluation=EVALUATION)
    assert at_server(plain, three, net.folder / "plain").ended == "done"


def test_a_site_counts_its_own_steps_and_says_what_it_spent(net, three):
    privacy = {"kind": "dp-sgd", "noise_multiplier": 1.0, "epsilon": None, "delta": 0.01}
    local = {**PROTOCOLS["averaging"], "local": {**LOCAL, "privacy": privacy, "steps": 2}}
    done = at_server(_of(net, SITES, local, stop__rounds=2, evaluation=EVALUATION), three, net.folder)
    assert (done.ended, done.text) == ("done", "")
    spent = json.loads((done.folder / "summary.json").read_text())["privacy"]
    for site in SITES:
        (file,) = (net.folder / site).glob(f"runs/*/{site}/privacy.json")
        releases = [Release(**each) for each in json.loads(file.read_text())["releases"]]
        assert sum(each.count for each in releases) == 4
        assert spent["clients"][site] == epsilon_of(releases, 0.01)


def _of(net, sites, protocol, **sections):
    """Return a job whose clients are these sites."""
    job = net_job(net, protocol, **sections)
    return type(job).from_dict({**job.to_dict(), "data": {"train": [f"{site}.jsonl" for site in sites]}})
