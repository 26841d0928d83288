"""What an engine that was taken over can send its agent, and what becomes of an agent or an engine that dies."""

import json
import socket
import threading
import time

import pytest

from fedtailor.federation.nvflare.packing import pack
from fedtailor.messages import encode
from fedtailor.network.site import agent as agents
from fedtailor.network.site import calls
from fedtailor.network.site.agent import Agent
from fedtailor.network.site.calls import BEGIN, HEAD, PIECE, PIECE_BYTES, Calls, pair_for_calls
from fedtailor.network.site.engine_end import EngineEnd
from fedtailor.records import Message

PING = pack(encode(Message(kind="ping", facts={"text": "x" * 500_000})))  # four pieces


class StandIn:
    """In the place of a site: answers with what came."""

    def __init__(self):
        self.opened, self.forgotten, self.stopped, self.hold = [], [], 0, threading.Event()
        self.hold.set()

    def open(self, told, *, again=False):
        self.opened.append((told, again))
        return {"info": {"examples": 3}}

    def answer(self, ticket, data):
        self.hold.wait(30)
        if ticket == "bad":
            raise OSError("/home/smith/data")
        return {"seconds": 0.5}, data

    def forget(self, ticket):
        self.forgotten.append(ticket)

    def stop(self):
        self.stopped += 1


class Ends(tuple):
    """Four things that most tests take apart, and the agent's end of the socket."""

    def __new__(cls, *four, agents):
        made = super().__new__(cls, four)
        made.agents = agents
        return made


@pytest.fixture
def ends():
    """Return the agent's end, the engine's, a site, what the agent notes, and a way to start an agent."""
    mine, theirs = pair_for_calls()
    site, notes = StandIn(), []

    def start():
        threading.Thread(target=Agent(site, mine, notes.append).work, daemon=True).start()

    yield Ends(theirs, site, notes, start, agents=mine)
    site.hold.set()
    for end in (mine, theirs):
        end.shutdown(socket.SHUT_RDWR)  # the threads end


def test_calls_come_and_go_in_pieces(ends):
    theirs, site, notes, start = ends
    start()
    end = EngineEnd(theirs)
    assert end.open({"run": "a", "ask": False}) == {"info": {"examples": 3}}
    assert site.opened == [({"run": "a", "ask": False}, False)]
    assert end.answer("1", PING) == {**PING, "seconds": 0.5}
    assert end.answer("bad", PING) == {"failure": ["failed", "OSError"]}  # the text stays at the site
    assert any("/home/smith/data" in note for note in notes)
    assert end.alive()
    end.forget("7")
    end.stop()
    until = time.monotonic() + 10
    while (site.forgotten, site.stopped) != (["7"], 2) and time.monotonic() < until:  # once for the new engine, once by it
        time.sleep(0.01)
    assert (site.forgotten, site.stopped) == (["7"], 2)


def packet(kind, call, payload):
    return HEAD.pack(kind, call) + payload


def begin(**head):
    return json.dumps(head).encode()


GARBAGE = [
    b"",
    b"\x01",
    packet(9, 1, b"x"),
    packet(BEGIN, 1, b"\xff\xfe"),
    packet(BEGIN, 1, b"[" * 100_000),
    packet(BEGIN, 1, b"[1]"),
    packet(BEGIN, 1, b'{"do": "open"}'),
    packet(BEGIN, 1, begin(do="open", size=-1)),
    packet(BEGIN, 1, begin(do="open", size=True)),
    packet(BEGIN, 1, begin(do="open", size=1e300)),
    packet(BEGIN, 1, begin(do="read", size=0)),
    packet(BEGIN, 1, begin(do=["open"], size=0)),
    packet(PIECE, 77, b"of no message"),
    packet(PIECE, 1, b"y" * (PIECE_BYTES + 1)),
]


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_garbage_is_counted_and_the_next_call_is_answered(ends, number):
    theirs, _, notes, start = ends
    start()
    theirs.send(GARBAGE[number])
    end = EngineEnd(theirs)
    end.open({"run": "a", "ask": False})
    assert end.answer("1", PING)["seconds"] == 0.5
    assert len(notes) == 1
    assert "nothing was done (1 such packets so far)" in notes[0]


def test_a_hundred_thousand_packets_are_one_line(ends):
    theirs, _, notes, start = ends
    start()
    for _ in range(100_000):
        theirs.send(packet(PIECE, 5, b"x"))
    assert EngineEnd(theirs).alive()
    assert len(notes) == 1


def test_a_message_of_ten_gigabytes_is_refused_before_a_byte_is_kept(ends, monkeypatch):
    theirs, _, notes, start = ends
    monkeypatch.setattr(agents, "_most_bytes", lambda: 2**30)
    start()
    asking = Calls(theirs, lambda: 2**20, print)
    theirs.send(packet(BEGIN, 1 << 32 | 1, begin(do="answer", ticket="1", size=10**10)))
    while (arrived := asking.get()).call == 0:
        pass
    assert arrived.head["failure"] == ["refused", "TooLarge"]
    for call in range(2, calls.MOST_MESSAGES + 3):  # many that begin and never end
        theirs.send(packet(BEGIN, 1 << 32 | call, begin(do="answer", ticket="1", size=10)))
    assert asking.get().head["failure"] == ["refused", "TooLarge"]
    assert "too large, or one too many" in notes[0]
    assert EngineEnd(theirs).alive()  # what the one before has begun is dropped with it


def test_more_calls_than_workers_are_refused(ends):
    theirs, site, _, start = ends
    start()
    site.hold.clear()
    asking = Calls(theirs, lambda: 2**20, print)
    asking.put(1 << 32 | 99, {"do": "open"}, b"{}")
    while asking.get().call != 1 << 32 | 99:
        pass
    for call in range(agents.MOST_CALLS + 1):
        asking.put(1 << 32 | call, {"do": "answer", "ticket": "1"}, b"data")
    while (arrived := asking.get()).call == 0:
        pass
    assert arrived.head["failure"] == ["refused", "TooManyCalls"]


def test_an_agent_that_was_started_again_opens_the_job_and_the_run_continues(ends):
    theirs, site, _, start = ends
    dying = Calls(ends.agents, lambda: 2**20, print)
    end, answers = EngineEnd(theirs), []

    def live():
        while (arrived := dying.get()).head["do"] != "answer":
            dying.put(arrived.call, {}, b'{"info": {}}' if arrived.head["do"] == "open" else b"")

    threading.Thread(target=live, daemon=True).start()
    end.open({"run": "a", "ask": False})
    asking = threading.Thread(target=lambda: answers.append(end.answer("1", PING)))
    asking.start()
    time.sleep(0.3)  # the first agent has taken the message, and dies with it
    start()
    asking.join(10)
    assert answers == [{"failure": ["failed", "AgentDied"]}]
    assert end.answer("2", PING)["seconds"] == 0.5
    assert site.opened == [({"run": "a", "ask": False}, True)]


def test_a_second_engine_hears_nothing_of_what_the_first_has_asked(ends):
    theirs, site, _, start = ends
    start()
    site.hold.clear()
    first = Calls(theirs, lambda: 2**20, print)
    first.put(1 << 32 | 1, {"do": "answer", "ticket": "1"}, b"data")
    first._send(BEGIN, 1 << 32 | 2, begin(do="answer", ticket="2", size=1000))  # and dies in the middle of this
    time.sleep(0.2)
    end = EngineEnd(theirs)
    site.hold.set()
    assert end.answer("1", PING) == {"failure": ["refused", "NotOpened"]}
    end.open({"run": "a", "ask": False})
    assert end.answer("1", PING) == {**PING, "seconds": 0.5}


def test_the_end_of_an_earlier_job_does_not_end_the_next(ends):
    theirs, site, _, start = ends
    start()
    earlier = Calls(theirs, lambda: 2**20, print)
    earlier.put(1 << 32 | 1, {"do": "open"}, b"{}")
    end = EngineEnd(theirs)
    end.open({"run": "b", "ask": False})
    stopped = site.stopped
    for do in ("alive", "forget", "stop", "answer"):  # its process takes a while to end
        earlier.put(1 << 32 | 2, {"do": do})
    assert end.answer("1", PING) == {**PING, "seconds": 0.5}
    assert (site.stopped, site.forgotten) == (stopped, [])


def test_without_an_agent_the_engine_gives_no_sign_of_life(monkeypatch):
    monkeypatch.setattr("fedtailor.network.site.engine_end.ALIVE_S", 0.05)
    _nobody, theirs = pair_for_calls()
    assert EngineEnd(theirs).alive() is False


def test_the_model_of_an_engine_that_was_killed_ends(ends, monkeypatch):
    theirs, site, _, start = ends
    monkeypatch.setattr(agents, "LOST_S", 0.4)
    start()
    Calls(theirs, lambda: 2**20, print).put(7 << 32 | 1, {"do": "open"}, b"{}")  # and then no word any more
    until = time.monotonic() + 10
    while site.stopped < 2 and time.monotonic() < until:  # once as it came, once as it is gone
        time.sleep(0.02)
    time.sleep(0.5)
    assert site.stopped == 2
