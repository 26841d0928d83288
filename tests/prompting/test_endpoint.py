import pytest
from scripted_endpoint import endpoint

from fedtailor.errors import SettingError
from fedtailor.prompting.endpoint import VARIABLE, EndpointError, own_endpoint

CHAT = [{"role": "user", "content": "hello"}]


def named(monkeypatch, tmp_path, url, **more):
    file = tmp_path / "mine.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in {"url": url, "model": "small", **more}.items()))
    monkeypatch.setenv(VARIABLE, str(file))
    found = own_endpoint()
    found.sleep = lambda seconds: None
    return found


def test_it_asks_once_and_keeps_the_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "secret")
    with endpoint(lambda body: "hi") as (url, came):
        assert named(monkeypatch, tmp_path, url, key="MY_KEY").ask(CHAT) == "hi"
    assert [one["headers"]["Authorization"] for one in came] == ["Bearer secret"]
    assert came[0]["model"] == "small"
    assert own_endpoint().ask(CHAT) == "hi"  # the server is gone
    assert (tmp_path / "mine.yaml.answers").stat().st_mode & 0o077 == 0


def test_it_tries_again_where_that_may_help(monkeypatch, tmp_path):
    replies = iter([(429, ""), (500, "<html>"), "hi"])
    with endpoint(lambda body: next(replies)) as (url, came):
        assert named(monkeypatch, tmp_path, url).ask(CHAT) == "hi"
    assert len(came) == 3


@pytest.mark.parametrize(
    ("reply", "match", "times"),
    [
        ((503, ""), "status 503", 3),
        ((401, ""), "status 401", 1),
        ((302, ""), "status 302", 1),  # the key does not follow a redirect
        ((200, "<html>down</html>"), "no chat completion: '<html>down", 1),
        ((200, '{"choices": []}'), "no chat completion", 1),
        ("  ", "an empty text", 3),
        ((200, "x" * 2**20 + "xx"), "more than 1,048,576 bytes", 1),
    ],
)
def test_what_it_cannot_use_is_named(monkeypatch, tmp_path, reply, match, times):
    with endpoint(lambda body: reply) as (url, came), pytest.raises(EndpointError, match=match):
        named(monkeypatch, tmp_path, url).ask(CHAT)
    assert len(came) == times


def test_one_that_is_down_is_named(monkeypatch, tmp_path):
    with pytest.raises(EndpointError, match="cannot be reached"):
        named(monkeypatch, tmp_path, "http://127.0.0.1:9/v1").ask(CHAT)


def test_calls_are_bounded(monkeypatch, tmp_path):
    with endpoint(lambda body: "hi") as (url, _):
        model = named(monkeypatch, tmp_path, url, calls=1)
        model.ask(CHAT)
        with pytest.raises(EndpointError, match="the most that calls: 1 allows"):
            model.ask([{"role": "user", "content": "more"}])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("url: ftp://x\nmodel: m", "http:// or https://"),
        ("model: m", "url is missing"),
        ("url: http://x\nmodel: m\nkey: NOT_SET_HERE", "NOT_SET_HERE"),
        ("url: http://x\nmodel: m\ntemperature: 1", "the key 'temperature'"),
        ("url: http://x\nmodel: m\ncalls: many", "calls is 'many'"),
        ("- url", "found no keys"),
    ],
)
def test_a_file_at_fault_is_named(monkeypatch, tmp_path, text, match):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(SettingError, match=match):
        own_endpoint()


def test_nobody_names_one(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert own_endpoint() is None
