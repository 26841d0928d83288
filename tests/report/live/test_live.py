"""The live page: what it shows of a run that grows, dies or ends, and that nobody else gets anything out of it."""

import http.client
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

pytest.importorskip("sse_starlette")

import uvicorn

from fedtailor.errors import DataError, SettingError
from fedtailor.report.live import serve
from fedtailor.report.live.state import State
from fedtailor.report.page import main_of, page_of
from fedtailor.report.so_far import read_so_far

EVIL = "<script>alert('a')</script>"


def begun(folder: Path, rounds: int) -> Path:
    """Write the folder of a run of this process that has done some rounds and is not over."""
    folder.mkdir(exist_ok=True)
    (folder / "job.yaml").write_text("name: grows\nbackbone: tiny\n")
    (folder / "run.lock").write_text(json.dumps({"process": os.getpid(), "machine": os.uname().nodename}))
    events = [
        {"event": "start", "rounds": 9},
        {"event": "evaluated", "round": 0, "figures": {"loss": 4.0}, "validation_loss": 4.0},
    ]
    for round in range(1, rounds + 1):
        events.append({"event": "evaluated", "round": round, "figures": {"loss": 4.0 - round}, "validation_loss": 4.0 - round})
        events.append({"event": "failure", "client": EVIL, "round": round, "text": "failed: ValueError"})
    times = (f"2026-11-29T10:00:{second:02}+00:00" for second in range(len(events)))
    (folder / "events.jsonl").write_text("".join(json.dumps({"time": t, **e}) + "\n" for t, e in zip(times, events, strict=True)))
    if rounds:
        table = [
            {"round": r, "train_loss": 4.1 - r, "validation_loss": 4.0 - r, "seconds": 1.0, "up_bytes": 9}
            for r in range(1, rounds + 1)
        ]
        pd.DataFrame(table).to_parquet(folder / "rounds.parquet")
        own = [{"round": r, "client": c, "last_loss": 4.1 - r} for r in range(1, rounds + 1) for c in ("a", EVIL)]
        pd.DataFrame(own).to_parquet(folder / "clients.parquet")
    return folder


def ended(folder: Path) -> None:
    metrics = {"before": {"loss": 4.0}, "after": {"loss": 2.0}}
    (folder / "summary.json").write_text(json.dumps({"job_name": "grows", "rounds": 2, "best_round": 2, "metrics": metrics}))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield the folder of a run and the address of its live page."""
    folder = begun(tmp_path_factory.mktemp("live") / "run", rounds=2)
    command = [sys.executable, "-m", "fedtailor.cli", "watch", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield folder, urlsplit(process.stdout.readline().strip())
    process.terminate()
    process.wait(timeout=20)


def asked(address, path=None, *, method="GET", host=None, headers=None):
    """Return status, headers and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=20)
    connection.putrequest(method, path or address.path, skip_host=True)
    for name, value in {"Host": host or f"127.0.0.1:{address.port}", **(headers or {})}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode() if not (path or "").endswith("events") else ""
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def streamed(address, *, last="", most=3):
    """Return the first events of the stream as (kind, id, data)."""
    found = []
    with socket.create_connection(("127.0.0.1", address.port), timeout=20) as line:
        head = f"GET {address.path}events HTTP/1.1\r\nHost: localhost:{address.port}\r\nLast-Event-ID: {last}\r\n\r\n"
        line.sendall(head.encode())
        text = ""
        until = time.monotonic() + 20
        while len(found) < most and time.monotonic() < until:
            line.settimeout(2.0)
            try:
                text += line.recv(1 << 16).decode()
            except TimeoutError:
                break
            blocks = [
                dict(re.findall(r"^(id|event|data): (.*?)\r?$", block, re.M)) for block in re.split(r"\r\n\r\n", text)[1:-1]
            ]
            found = [(block.get("event"), block.get("id"), block.get("data")) for block in blocks if "event" in block]
    return found


def test_the_live_page_is_the_report_of_the_same_moment(served):
    folder, address = served
    status, headers, text = asked(address)
    assert status == 200
    run = read_so_far(folder)
    assert main_of(run) in text
    assert main_of(run) in page_of(run)
    assert EVIL not in text
    assert "&lt;script&gt;" in text
    (nonce,) = re.findall(r'<script nonce="([^"]+)">', text)
    assert text.count("<script") == 1
    assert f"script-src 'nonce-{nonce}'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert nonce not in asked(address)[2]  # another one each time


@pytest.mark.parametrize(
    ("path", "method", "host", "refusal"),
    [
        ("/wrong/", "GET", None, 404),
        ("/wrong/events", "GET", None, 404),
        ("/", "GET", None, 404),
        ("{token}/../../etc/passwd", "GET", None, 404),
        ("{token}/job.yaml", "GET", None, 404),
        ("{token}/%2e%2e/%2e%2e/etc/passwd", "GET", None, 404),
        ("{token}/events/../job.yaml", "GET", None, 404),
        ("{token}/", "POST", None, 405),
        ("{token}/", "DELETE", None, 405),
        ("{token}/", "OPTIONS", None, 405),
        ("{token}/", "GET", "evil.example", 400),
        ("{token}/", "GET", "127.0.0.1", 400),
        ("{token}/", "GET", "127.0.0.1.evil.example:{port}", 400),
        ("{token}/events", "GET", "evil.example", 400),
    ],
)
def test_whoever_has_no_token_or_another_host_gets_nothing(served, path, method, host, refusal):
    folder, address = served
    named = host.replace("{port}", str(address.port)) if host else None
    status, _, text = asked(address, path.replace("{token}", address.path.rstrip("/")), method=method, host=named)
    assert status == refusal
    assert str(folder) not in text
    assert "grows" not in text


def test_a_lost_connection_resumes_where_it_was(served):
    _, address = served
    (kind, mark, data), *_ = streamed(address, most=2)
    assert kind == "main"
    assert "grows" in json.loads(data)
    assert int(mark.split("-")[0]) > 0  # the bytes of the events
    assert [kind for kind, *_ in streamed(address, last=mark, most=1)] == ["now"]  # nothing of what the browser has


def test_a_hundred_connections_are_survived(served):
    _, address = served
    head = f"GET {address.path}events HTTP/1.1\r\nHost: localhost:{address.port}\r\n\r\n".encode()
    lines = [socket.create_connection(("127.0.0.1", address.port), timeout=20) for _ in range(100)]
    for line in lines:
        line.sendall(head)
    answers = [line.recv(20).decode().split()[1] for line in lines]
    assert answers.count("200") <= 20
    assert set(answers) == {"200", "503"}
    assert asked(address)[0] == 200
    for line in lines:
        line.close()
    until = time.monotonic() + 20
    while not streamed(address, most=1) and time.monotonic() < until:
        time.sleep(0.5)
    assert streamed(address, most=1)


def test_a_run_that_begins_grows_dies_and_ends(tmp_path):
    state = State(begun(tmp_path / "run", rounds=0))
    first, html = state.main()
    assert "grows" in html
    assert state.now() == "the run is under way"
    (state.folder / "now.json").write_text('{"event": "step", "client": "north", "step": 3, "steps": 8, "loss": 2.5}')
    assert state.now() == "north: step 3 of 8, loss 2.500"
    (state.folder / "now.json").write_text('{"event": "step", "cl')
    assert state.now() == "the run is under way"
    begun(state.folder, rounds=2)
    second, html = state.main()
    assert second != first
    assert "2 of 9 rounds so far" in html
    assert "loss, all clients" in html
    assert "2.000" in html  # the validation loss of round 2: 4 - 2
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (state.folder / "run.lock").write_text(json.dumps({"process": gone.pid, "machine": os.uname().nodename}))
    assert state.alive() is False
    assert state.now() == f"the run was interrupted: resume it with fedtailor run --resume {state.folder}"
    ended(state.folder)
    assert state.now() == "the run has ended"
    assert state.main()[0] != second


def test_a_damaged_table_is_named_in_the_page(tmp_path):
    state = State(begun(tmp_path / "run", rounds=2))
    (state.folder / "rounds.parquet").write_bytes(b"PAR1 and no more")
    assert "rounds.parquet cannot be read" in state.main()[1]


def test_a_folder_without_a_run_and_a_taken_port_are_named(tmp_path):
    with pytest.raises(DataError, match="is not the folder of a run"):
        serve(tmp_path, ready=print)
    folder = begun(tmp_path / "run", rounds=0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingError, match="name another with --port"):
            serve(folder, port=taken.getsockname()[1], ready=print)


def test_serving_leaves_the_logging_of_its_process_as_it_is(tmp_path, monkeypatch):
    """A handler that is closed may take the stream that it writes to with it: absl's does."""

    class Handler(logging.Handler):
        closed = False

        def close(self) -> None:
            self.closed = True
            super().close()

    handler, served = Handler(), []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: [served.append(each.close()) for each in sockets])
    serve(begun(tmp_path / "run", rounds=1), port=0, until_end=False, ready=lambda address: None)
    assert served == [None]
    assert not handler.closed
