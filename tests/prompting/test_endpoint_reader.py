"""Prompts scored by the endpoint of a machine's owner: by likelihoods where it gives them, else by what it writes."""

import json
import math

import pytest
from prompted import LABELS, METHOD, place_rows, prompting_job
from scripted_endpoint import endpoint

from fedtailor.errors import SettingError
from fedtailor.prompting import Prompt
from fedtailor.prompting.endpoint import VARIABLE
from fedtailor.prompting.endpoint_reader import EndpointReader
from fedtailor.running import run

PROMPT = Prompt(instruction="Where is it?", labels=LABELS)


@pytest.fixture
def named(monkeypatch, tmp_path):
    def name(url, **more):
        file = tmp_path / "mine.yaml"
        file.write_text("".join(f"{key}: {value}\n" for key, value in {"url": url, "model": "small", **more}.items()))
        monkeypatch.setenv(VARIABLE, str(file))

    return name


def writes(body):
    if "prompt" in body:
        return 404, "no completions here"
    asked = body["messages"][0]["content"].rsplit("Text:", 1)[1]
    return "River place.\nIt is by the river." if "river" in asked else "the town" if "town" in asked else "I cannot say"


def echoes(body):
    """Give each character as a token, and those of the right label behind a text a likelihood of -0.1."""
    choices = []
    for at, prompt in enumerate(body["prompt"]):
        text, _, label = prompt.rpartition("\nCategory:")
        right = "river" in text and "river" in label
        values = [None, *[-0.1 if right else -0.2] * len(prompt[1:]), -9.0]
        choices.append({"index": at, "logprobs": {"token_logprobs": values, "text_offset": [*range(len(prompt) + 1)]}})
    return 200, json.dumps({"choices": choices[::-1]})


def test_what_it_writes_is_held_against_the_labels(named):
    with endpoint(writes) as (url, came):
        named(url)
        reading = EndpointReader().read(PROMPT, calibrate=True)
        rows = reading.scores(["An inn by the river", "An inn in the town", "An inn"])
        # F1 with "river place" and "town": 1 and 0; 0 and 1; 0 and 0
        assert [[round(math.exp(value), 4) for value in row] for row in rows] == [[1.01, 0.01], [0.01, 1.01], [0.01, 0.01]]
        found = reading.score([("An inn by the river", LABELS[0]), ("An inn in the town", LABELS[0])])
    assert (found.right, found.examples) == (1, 2)
    assert found.loss_sum == pytest.approx(math.log(1.02 / 1.01) + math.log(1.02 / 0.01))
    assert len([one for one in came if "messages" in one]) == 3  # each text once
    assert "prompt" in came[0]  # the probe


def test_likelihoods_are_taken_where_it_gives_them(named):
    with endpoint(echoes) as (url, came):
        named(url)
        plain = EndpointReader().read(PROMPT, calibrate=False).scores(["by the river"])
        calibrated = EndpointReader().read(PROMPT, calibrate=True).scores(["by the river"])
    # " river place" has 12 characters, " town" 5; what it writes behind them counts for nothing
    assert plain == [[pytest.approx(-1.2), pytest.approx(-1.0)]]
    assert calibrated == [[pytest.approx(-1.2 + 2.4), pytest.approx(0.0)]]
    assert not any("messages" in one for one in came)


def test_a_search_by_an_endpoint(named, tiny_backbone_folder, tmp_path):
    job = prompting_job(tiny_backbone_folder, task__scored_by="endpoint", protocol__method=METHOD | {"generations": 1})
    with endpoint(writes) as (url, came):
        named(url, calls=2_000)
        made = run(job, data=place_rows(), out=tmp_path / "run")
    assert made.history["best_accuracy"].max() == 1.0
    assert len({json.dumps(one["messages"]) for one in came if "messages" in one}) == len(came) - 1  # nothing is asked twice


def test_what_it_cannot_do_is_said(named, monkeypatch, tiny_backbone_folder):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SettingError, match="let the environment variable FEDTAILOR_ENDPOINT name a file"):
        EndpointReader().read(PROMPT, calibrate=True)
    with pytest.raises(SettingError, match="no endpoint takes"):
        EndpointReader().behind(PROMPT, [], calibrate=True, batch=1)
    with pytest.raises(SettingError, match="scored_by must be 'backbone' or 'endpoint'; got 'me'"):
        prompting_job(tiny_backbone_folder, task__scored_by="me")
