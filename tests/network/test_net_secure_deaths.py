"""Secure sums of seven sites in processes of their own, with threshold 5: two that are killed leave the sum of the others, a third ends the run."""

import json
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
from jobs import tiny_rows
from nets import LOCAL, net_job, same_adapter, write_site

pytest.importorskip("nvflare")

from fedtailor.errors import RunError
from fedtailor.federation import failing
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import World, free_port, running
from fedtailor.network.kit.authority import make_network
from fedtailor.network.kit.network_file import Network
from fedtailor.running import run

pytestmark = [pytest.mark.slow, pytest.mark.large, pytest.mark.xdist_group("network")]
SITES = tuple(f"site-{number}" for number in range(1, 8))
EACH = 6  # rows of a site: as many of each, so that all count alike
ROUNDS = 4


def kill(world, sites):
    words = {str(place) for site in sites for place in (world.folder / site, world.folder / site / "engine")}
    for one in [each for each in psutil.process_iter(["cmdline"]) if words & set(each.info["cmdline"] or [])]:
        one.kill()


def make(folder, backbone):
    """Return a network of seven sites and a job of all of them."""
    rows = tiny_rows()
    network = Network(name="seven", port=free_port(), sites=SITES)
    make_network(network, folder / "world")
    for number, site in enumerate(SITES):
        own = rows[number * EACH : (number + 1) * EACH]
        (folder / f"{site}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
        write_site(folder / "world" / site, folder / f"{site}.jsonl", backbone, test_share=0.0, validation_share=0.0)
    net = SimpleNamespace(folder=folder, backbone=backbone)
    secure = [{"kind": "secure-aggregation", "threshold": 5}]
    job = net_job(net, {"kind": "averaging", "local": LOCAL}, stop__rounds=ROUNDS, stop__keep="last", protection=secure)
    clients = {**job.to_dict()["clients"], "min_examples": 1, "validation_share": 0.0, "test_share": 0.0}
    return World(folder=folder / "world", network=network), type(job).from_dict(
        {**job.to_dict(), "data": {"train": [f"{site}.jsonl" for site in SITES]}, "clients": clients}
    )


def local_without(job, missing, monkeypatch, out):
    """Return a local run in which clients fail in the rounds in which they were missing."""

    def answer(self, message):
        if (self.client, self.round_of(message)) in missing:
            raise failing.SimulatedFailure(self.client)
        return self.inner.answer(message)

    monkeypatch.setattr(failing.Failing, "answer", answer)
    return run(job.replace("clients.failure_share", 1e-9), out=out)


def test_two_of_seven_may_die_and_the_third_ends_the_run(tmp_path, tiny_backbone_folder, monkeypatch):
    world, job = make(tmp_path, tiny_backbone_folder)
    gone, later = SITES[5:], SITES[4]
    killed = []

    def after_the_first(sites):
        def watch(kind, facts):
            if kind == "round" and set(sites) - set(killed):
                killed.extend(sites)
                kill(world, sites)

        return watch

    with running(world):
        two = run_on(job, world.folder, out=tmp_path / "two", watcher=after_the_first(gone))
        with pytest.raises(RunError) as ended:
            run_on(job, world.folder, out=tmp_path / "three", without=gone, watcher=after_the_first([later]))
    rows = pd.read_parquet(two.folder / "clients.parquet")
    missing = {(client, int(number)) for client, number in rows.loc[rows["error"].notna(), ["client", "round"]].values}
    assert {client for client, _ in missing} == set(gone)
    assert {(client, ROUNDS) for client in gone} <= missing
    assert rows["round"].max() == ROUNDS
    assert same_adapter(local_without(job, missing, monkeypatch, tmp_path / "local").folder, two.folder)
    print(sorted(missing), str(ended.value), flush=True)
    assert later in str(ended.value)
