"""The whole of it: a server and two sites in processes of their own, mutual TLS on loopback, jobs submitted with the administrator's kit."""

import json
import shutil
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from types import SimpleNamespace

import psutil
import pytest
import torch
from nets import PROTOCOLS, SITES, net_job, same_adapter, write_rows, write_site

from fedtailor.cli.net import status
from fedtailor.errors import JobError, SettingError
from fedtailor.federation.nvflare.line import NetError
from fedtailor.network.command.processes import end_process, engine_process, site_process
from fedtailor.network.command.push import push_on
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import free_port, make_world, running
from fedtailor.network.kit.kits import last_reported, make_kits
from fedtailor.network.kit.network_file import Network
from fedtailor.running import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("network"),  # one after the other: two networks at once are eleven processes for two processors
    pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'"),
]


def processes_of(kit):
    """Return all processes of a kit that name it, with their commands: launcher, agent, engine and the engine's job."""
    places = {str(kit), str(kit / "engine")}
    return [process for process in psutil.process_iter(["cmdline"]) if places & set(process.info["cmdline"] or [])]


def job_process(kit):
    """Return the engine's process of the job that a kit has under way."""
    return next(process for process in processes_of(kit) if any("worker_process" in word for word in process.info["cmdline"]))


PERMITTED = ("averaging", "distillation", "split")  # as make_world permits
PUSHED = "large"  # 60 MB in 20 pieces: long enough to be killed under way


def large_backbone(tiny, folder):
    """Save the tiny backbone with weights that nobody needs beside its own, as far as its size goes."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "unused": torch.zeros(15_000_000)}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def change_site(kit, **changes):
    """Put settings on top of a site's private file, and of the policy in it."""
    file = kit / "local" / "fedtailor.json"
    told = json.loads(file.read_text())
    policy = {**told["policy"], **changes.pop("policy", {})}
    file.write_text(json.dumps({**told, **changes, "policy": policy}))


def kill_in_the_middle(kit, file, events, killed):
    """Stop the process that takes a backbone once the file has its first bytes, and kill -9 it when those who watch know that it began."""
    until = time.monotonic() + 300
    while not killed and time.monotonic() < until:
        if file.is_file() and file.stat().st_size:
            process = job_process(kit)
            process.suspend()
            while "piece" not in [kind for kind, _ in events] and time.monotonic() < until:
                time.sleep(0.05)
            killed.append(file.stat().st_size)
            process.kill()
        time.sleep(0.002)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_backbone_folder):
    """Return a network that runs, for all tests: starting it takes longer than a job. Its sites have the tiny backbone, and not the large one."""
    folder = tmp_path_factory.mktemp("network")
    write_rows(folder)
    net = SimpleNamespace(folder=folder, backbone=tiny_backbone_folder)
    large = large_backbone(tiny_backbone_folder, folder / "models" / PUSHED)
    world = make_world(net_job(net, PROTOCOLS["averaging"]), folder / "world")
    with running(world, lambda text: print(text, file=sys.stderr)):  # so that a failure shows whether the server died
        yield SimpleNamespace(
            folder=world.folder,
            large=large,
            kits={site: world.folder / site for site in SITES},
            job=lambda protocol, **sections: net_job(net, PROTOCOLS[protocol], **sections),
        )


@pytest.fixture(scope="module")
def pushed(place):
    """Return what came of pushing the large backbone, and what those who watched saw; a site's receiver is killed on the way."""
    killed, events = [], []
    assert [row["state"] for row in push_on(place.folder, str(place.large), sites=["site-1"])] == ["refused"]
    for kit in place.kits.values():
        change_site(kit, policy={"backbone_from_server": True})
    file = place.kits["site-1"] / "backbones" / f".{PUSHED}.arriving" / "model.safetensors"
    threading.Thread(target=kill_in_the_middle, args=(place.kits["site-1"], file, events, killed), daemon=True).start()
    rows = push_on(place.folder, str(place.large), watcher=lambda *event: events.append(event))
    return SimpleNamespace(rows=rows, events=events, killed_at=killed[0])


@pytest.mark.network
def test_a_backbone_is_pushed_and_resumes_after_its_receiver_was_killed(place, pushed):
    assert 0 < pushed.killed_at < 60_000_000
    assert [row["state"] for row in pushed.rows] in (["whole", "whole"], ["whole", "had"])
    second = pushed.events[[kind for kind, _ in pushed.events].index("warning") :]
    first = next(facts for kind, facts in second if kind == "piece" and facts["site"] == "site-1")
    assert first["sent_bytes"] >= pushed.killed_at
    assert pushed.rows[0]["down_bytes"] < 60_000_000 * 1.2  # what had come was not sent again, but for a piece
    for kit in place.kits.values():
        assert {path.name for path in (kit / "backbones").iterdir()} == {PUSHED}
        assert (kit / "backbones" / PUSHED / "model.safetensors").read_bytes() == (place.large / "model.safetensors").read_bytes()


@pytest.mark.network
def test_a_backbone_is_pushed_to_sites_of_the_network_alone(place):
    with pytest.raises(SettingError, match="'site-9' is no site of network try; its sites are site-1, site-2"):
        push_on(place.folder, str(place.large), sites=["site-9"])


@pytest.mark.network
def test_a_job_of_which_a_process_is_killed_resumes_to_the_bits_of_a_local_run(place, pushed, tmp_path):
    """The job is of the backbone that was pushed."""
    job = place.job("averaging", stop__rounds=20, personalization={"kind": "ditto"}).replace("backbone", str(place.large))
    killed, seen = [], []

    def kill_after_a_round(kind, facts):
        seen.append(kind)
        if kind == "round" and not killed:
            process = job_process(place.kits["site-2"])
            killed.append(process.pid)
            process.kill()

    local = run(job, out=tmp_path / "local")
    done = run_on(job, place.folder, out=tmp_path / "killed", watcher=kill_after_a_round)
    assert killed
    assert "resume" in seen
    assert same_adapter(local.folder, done.folder)
    sent = json.loads((done.folder / "network.json").read_text())["backbone_sent"]
    assert {row["site"]: row["down_bytes"] for row in sent} == {row["site"]: row["down_bytes"] for row in pushed.rows}
    assert done.summary["traffic"]["down_bytes"] < 10_000_000  # the backbone is not in it


@pytest.mark.parametrize(
    "protocol", ["averaging", *(pytest.param(name, marks=pytest.mark.network) for name in list(PROTOCOLS)[1:])]
)
def test_a_job_comes_to_the_bits_of_a_local_run(place, protocol, tmp_path):
    job, events = place.job(protocol, stop__rounds=1), []
    local = run(job, out=tmp_path / "local")
    done = run_on(job, place.folder, out=tmp_path / "net", watcher=lambda kind, facts: events.append(kind))
    assert same_adapter(local.folder, done.folder)
    assert done.summary["metrics"] == local.summary["metrics"]
    assert {"opening", "start", "round", "done"} <= set(events)
    assert (done.folder / "events.jsonl").is_file()


def test_who_is_there_is_shown(place, capsys):
    assert set(last_reported(place.folder / "admin")) == set(SITES)
    status(place.folder)
    shown = capsys.readouterr().out
    assert all(site in shown for site in SITES)
    assert "not connected" not in shown


@pytest.mark.network
def test_a_site_refuses_what_its_policy_does_not_permit(place, tmp_path):
    change_site(place.kits["site-1"], policy={"protocols": ["split"]})
    try:
        with pytest.raises(JobError, match="site-1 refuses: protocol averaging is not permitted here; permitted: split"):
            run_on(place.job("averaging", stop__rounds=1), place.folder, out=tmp_path / "refused")
    finally:
        change_site(place.kits["site-1"], policy={"protocols": list(PERMITTED)})


@pytest.mark.network
def test_a_site_that_dies_is_left_out(place, tmp_path):
    """The last one on this network: the site stays dead."""
    events = {}

    def kill_the_site(kind, facts):
        if kind == "round" and kind not in events:
            for process in processes_of(place.kits["site-2"]):
                process.kill()
        events.setdefault(kind, time.monotonic())

    long = place.job("averaging", stop__rounds=60)  # else all rounds may be over before the first is seen here
    done = run_on(long, place.folder, out=tmp_path / "lost", watcher=kill_the_site)
    assert time.monotonic() - events["done"] < 60  # a call to a dead site does not hold the job's end up
    assert done.summary["clients"]["failed"] == ["site-2"]
    assert "resume" not in events


def test_the_server_keeps_nothing_of_the_sites_data(place):
    kept = " ".join(
        path.read_text(errors="replace")
        for path in (place.folder / "server").rglob("*")
        if path.suffix in {".log", ".txt", ".json"}
    )
    assert "serves" not in kept  # a word of every example
    assert str(place.kits["site-1"]) not in kept


def self_signed(startup):
    """Put a key of nobody's in the place of a kit's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "c"), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "org_c")]
    )
    key, now = rsa.generate_private_key(public_exponent=65537, key_size=2048), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (startup / "client.key").write_bytes(key.private_bytes(*form))
    (startup / "client.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


@pytest.mark.network
def test_nobody_gets_in_without_a_certificate_of_the_servers_in_its_own_name(tmp_path):
    from fedtailor.federation.nvflare.administration import ServerSession

    folder = tmp_path / "n"
    make_kits(Network(name="n", port=free_port(), sites=("a", "b", "c")), folder)
    for site in ("a", "b", "c"):
        write_site(folder / site, tmp_path / "data.jsonl", tmp_path / "no-backbone")
    for name in ("client.crt", "client.key"):
        shutil.copyfile(folder / "b" / "startup" / name, folder / "a" / "startup" / name)
    self_signed(folder / "c" / "startup")
    processes = {"server": engine_process(folder / "server")}
    try:
        processes |= {site: site_process(folder / site) for site in ("a", "c")}
        time.sleep(10)  # they are ahead of the one that may
        processes["b"] = site_process(folder / "b")
        there, until = set(), time.monotonic() + 200
        while "b" not in there and time.monotonic() < until:
            try:
                with ServerSession(folder / "admin", "admin@n.net") as server:
                    there = set(server.connected())
            except NetError:
                time.sleep(1)
        assert there == {"b"}
        self_signed(folder / "admin" / "startup")
        with pytest.raises(NetError):
            ServerSession(folder / "admin", "admin@n.net")
    finally:
        for kit, process in processes.items():
            end_process(process, folder / kit)
