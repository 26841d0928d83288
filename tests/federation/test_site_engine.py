"""A site's engine carries out what a run needs, in the one form that our jobs have, and refuses everything else by name."""

import io
import json
import logging
import zipfile

import pytest

pytest.importorskip("nvflare")
from nvflare.private.admin_defs import Message
from nvflare.private.defs import RequestHeader, TrainingTopic
from nvflare.private.fed.client import client_req_processors
from nvflare.private.fed.client.admin_commands import AdminCommands

from fedtailor.federation.nvflare.app import SITE_APP, SITE_FILE
from fedtailor.federation.nvflare.site_engine import JOB, command_to_job, processors, why_no_app

ID = "356900a9-3c7e-46d3-beac-26cf7cd0005d"


def zipped(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as app:
        for name, content in files.items():
            app.writestr({"SITE_FILE": SITE_FILE, "SIGNATURE": ".__nvfl_sig.json"}.get(name, name.replace("__", "/")), content)
    return data.getvalue()


APP = json.dumps(SITE_APP)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (zipped(SITE_FILE=APP), ""),
        (zipped(SITE_FILE=APP, SIGNATURE="{}"), ""),
        (zipped(**{"SITE_FILE": APP, "custom__evil.py": "import os"}), "the app holds 'custom/evil.py'"),
        (zipped(**{"SITE_FILE": json.dumps({**SITE_APP, "components": [{"id": "x", "path": "os.system"}]})}), "not of the form"),
        (zipped(**{"SITE_FILE": "[" * 10_000}), "cannot be read (RecursionError)"),
        (zipped(**{"SITE_FILE": APP + " " * 2**21}), "too large"),
        (zipped(other="x"), "the app holds 'other'"),
        (zipped(), "cannot be read (KeyError)"),
        (b"no zip", "cannot be read (BadZipFile)"),
        (None, "cannot be read (BadZipFile)"),
    ],
)
def test_an_app_has_the_one_form_or_is_refused(data, why):
    found = why_no_app(data)
    assert found == "" if why == "" else why in found


def request(topic, job=ID, body=None):
    made = Message(topic=topic, body=body)
    if job is not None:
        made.set_header(RequestHeader.JOB_ID, job)
    return made


@pytest.fixture
def by_topic():
    """Return what answers each topic, in the place of an engine that must not be reached."""
    return {topic: one for one in processors() for topic in one.get_topics()}


def test_every_other_command_of_nvflare_is_refused_and_noted(by_topic, caplog):
    theirs = {topic for one in client_req_processors.ClientRequestProcessors.request_processors for topic in one.get_topics()}
    assert set(by_topic) == theirs  # none is forgotten
    refused = set()
    for topic, processor in by_topic.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            reply = processor.process(request(topic, job="../site-2"), None)  # no engine: who reaches for it fails
        assert "refused by this site" in str(reply.body)
        assert f"fedtailor refused {topic}, which the server asked for" in caplog.text
        refused |= {topic} if "no run needs it" in caplog.text else set()
    topics = TrainingTopic
    needed = {
        topics.CHECK_RESOURCE,
        topics.CANCEL_RESOURCE,
        topics.START_JOB,
        topics.DEPLOY,
        topics.ABORT,
        topics.NOTIFY_JOB_STATUS,
    }
    assert theirs - refused == needed


@pytest.mark.parametrize("job", [None, "", "..", "../a", ID + "/..", ID + "\n", ID.upper(), 7])
def test_a_jobs_number_is_no_path(by_topic, job):
    reply = by_topic[TrainingTopic.DEPLOY].process(request(TrainingTopic.DEPLOY, job=job), None)
    assert "refused by this site" in str(reply.body)
    assert JOB.fullmatch(ID)


def test_an_app_with_code_is_not_deployed(by_topic):
    evil = zipped(**{"SITE_FILE": APP, "custom__evil.py": "import os"})
    reply = by_topic[TrainingTopic.DEPLOY].process(request(TrainingTopic.DEPLOY, body=evil), None)
    assert "refused by this site" in str(reply.body)


def test_a_jobs_process_takes_what_ends_it_and_no_more(caplog):
    known = {one.get_command_name() for one in AdminCommands.commands}
    assert {name for name in known if command_to_job(name)} == {"check_status", "abort", "shutdown"}
    assert "fedtailor refused configure_job_log, which the server asked for: no run needs it" in caplog.text
