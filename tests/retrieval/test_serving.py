"""A service on a socket and on loopback: answers with sources, and one clear line for what cannot be answered."""

import http.client
import json
import socket
import stat
import tempfile
from pathlib import Path
from threading import Thread

import pytest
from embedders import Hashed, source

from fedtailor.errors import SettingError
from fedtailor.retrieval import Federation
from fedtailor.retrieval.index import open_index
from fedtailor.retrieval.over_socket import ask_service
from fedtailor.retrieval.readers import BestSentence
from fedtailor.retrieval.service import Service
from fedtailor.retrieval.serving import MOST_BODY, local_socket, loopback
from fedtailor.retrieval.update import update_index

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def service(tmp_path):
    for name, text in {"north": "The tea is hot. Milk is dear.", "south": "The plum is blue and cheap."}.items():
        update_index(tmp_path / name, [source(name, text)], Hashed())
    clients = {name: open_index(tmp_path / name) for name in ("north", "south")}
    federation = Federation(clients=clients, embedder=Hashed())
    return Service(federation=federation, top_k=2, reader=BestSentence(embedder=Hashed()))


@pytest.fixture
def serving(service):
    with loopback(service, "127.0.0.1:0") as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def request(port, path, body=None, method="POST", headers=JSON):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body).encode(), headers)
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_an_answer_has_its_sources(serving):
    status, found = request(serving, "/ask", {"question": "is the plum blue", "top_k": 1})
    assert (status, found["answer"]) == (200, "The plum is blue and cheap.")
    assert [one["client"] for one in found["sources"]] == ["south"]
    assert found["seconds"] > 0


def test_a_chat_window_gets_them_too(serving):
    said = [{"role": "system", "content": "x"}, {"role": "user", "content": "a"}, {"role": "user", "content": "is tea hot"}]
    status, found = request(serving, "/v1/chat/completions", {"model": "any", "messages": said})
    assert status == 200
    assert found["choices"][0]["message"] == {"role": "assistant", "content": "The tea is hot."}
    assert found["sources"][0]["client"] == "north"
    assert request(serving, "/v1/models", method="GET")[1]["data"][0]["id"] == "fedtailor-retrieval"


def test_a_chat_is_streamed_in_the_form_of_its_clients(serving):
    parts = [{"type": "text", "text": "is tea"}, {"type": "text", "text": "hot"}]
    body = {"messages": [{"role": "user", "content": parts}], "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", serving, timeout=10)
    connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), JSON)
    reply = connection.getresponse()
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    first, last, end, rest = reply.read().decode().split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    first, last = (json.loads(event.removeprefix("data: ")) for event in (first, last))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "The tea is hot."}
    assert first["sources"][0]["client"] == "north"
    assert last["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert (first["object"], first["id"]) == ("chat.completion.chunk", last["id"])


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "match"),
    [
        ("/ask", b"{", JSON, 400, "no JSON"),
        ("/ask", b"[" * 60_000, JSON, 400, "no JSON"),
        ("/ask", [], JSON, 400, "a JSON list; send an object"),
        ("/ask", {}, JSON, 400, "question is a text; got nothing"),
        ("/ask", {"question": "  "}, JSON, 400, "the question is empty"),
        ("/ask", {"question": "x" * 9_000}, JSON, 400, "the most is"),
        ("/ask", {"question": "x", "top_k": 0}, JSON, 400, "top_k is the number of passages"),
        ("/ask", {"question": "x", "top_k": "5"}, JSON, 400, "top_k is a whole number"),
        ("/ask", {"question": "x" * MOST_BODY}, JSON, 413, "the most is 65,536"),
        ("/ask", {"question": "x"}, {"Content-Type": "text/plain"}, 415, "Content-Type: application/json"),
        ("/ask", {"question": "x"}, {**JSON, "Host": "evil.example:80"}, 421, "for this machine alone"),
        ("/ask", {"question": "x"}, {**JSON, "Origin": "http://evil.example"}, 403, "pages from elsewhere"),
        ("/elsewhere", {}, JSON, 404, "there is no /elsewhere"),
        ("/v1/chat/completions", {"messages": "hi"}, JSON, 400, "a list of objects"),
        ("/v1/chat/completions", {"messages": [{"role": "system", "content": "x"}]}, JSON, 400, "no message has the role user"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": ["x"]}]},
            JSON,
            400,
            "a list of parts of the type text",
        ),
        ("/v1/chat/completions", {"messages": [], "stream": True}, JSON, 400, "no message has the role user"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            JSON,
            400,
            "pictures and files",
        ),
    ],
)
def test_what_cannot_be_answered_gets_one_line(serving, path, body, headers, status, match):  # noqa: PLR0917 - a row of the table
    found, said = request(serving, path, body, headers=headers)
    assert found == status
    assert match in said["error"]["message"]
    assert "\n" not in said["error"]["message"]
    assert request(serving, "/ask", {"question": "is the plum blue"})[0] == 200  # it still answers


def test_a_fault_of_ours_says_no_more_than_its_kind(service, serving, monkeypatch):
    monkeypatch.setattr(Service, "answer", lambda *of: 1 / 0)
    status, said = request(serving, "/ask", {"question": "x"})
    assert (status, said["error"]["message"]) == (500, "the question could not be answered (ZeroDivisionError)")


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory() as folder:  # a short path: that of a test is longer than a socket's may be
        yield Path(folder) / "ask.sock"


def test_a_socket_is_its_owners_alone_and_goes_with_the_service(service, place):
    with local_socket(service, place) as server:
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(place))
        connection.request("POST", "/ask", json.dumps({"question": "is the plum blue"}), JSON)
        assert json.loads(connection.getresponse().read())["answer"] == "The plum is blue and cheap."
        with pytest.raises(SettingError, match="another service answers"), local_socket(service, place):
            pass
        connection.close()
        server.shutdown()
        thread.join()
    assert not place.exists()


def test_places_that_cannot_be_are_named(service, place, tmp_path):
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(place))
    with local_socket(service, place):  # what a service that was killed left behind is replaced
        assert place.exists()
    place.write_text("mine")
    with pytest.raises(SettingError, match="is no socket"), local_socket(service, place):
        pass
    assert place.read_text() == "mine"
    with pytest.raises(SettingError, match="more than 100 bytes"), local_socket(service, tmp_path / ("x" * 100)):
        pass
    for address in ("0.0.0.0:80", "8080", "example.org:80", "127.0.0.1:99999", "127.0.0.1:x"):
        with pytest.raises(SettingError, match=r"write 127\.0\.0\.1:8080"), loopback(service, address):
            pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingError, match="name another port"), loopback(service, f"127.0.0.1:{taken.getsockname()[1]}"):
            pass


def test_a_question_goes_to_the_service_that_runs(service):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ask.sock"
        assert ask_service(place, ["is the plum blue"], None) == []  # nobody listens
        with local_socket(service, place) as server:
            thread = Thread(target=server.serve_forever, daemon=True)
            thread.start()
            found = ask_service(place, ["is the plum blue", "is tea hot"], 1)
            assert [(one["answer"], len(one["sources"])) for one in found] == [
                ("The plum is blue and cheap.", 1),
                ("The tea is hot.", 1),
            ]
            with pytest.raises(SettingError, match="the question is empty"):
                ask_service(place, [" "], None)
            server.shutdown()
            thread.join()
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(place))  # of a service that was killed
        left.close()
        assert ask_service(place, ["is the plum blue"], None) == []
