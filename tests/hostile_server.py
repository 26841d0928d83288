"""NVFlare's own server with misdeeds: `python -m hostile_server ADDRESS MODULE ...` serves as ours does, and sends the site all that it can think of.

What came back is written to the file that FEDTAILOR_MISDEEDS names: a list of channel, topic, answer.
"""

import io
import json
import os
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from fedtailor.federation.nvflare import listener
from fedtailor.federation.nvflare.app import SITE_APP, SITE_FILE

SITE, JOB, OTHER = "north", "356900a9-3c7e-46d3-beac-26cf7cd0005d", "356900a9-3c7e-46d3-beac-26cf7cd0005e"


def app(files=(), signed_by=None):
    """Return a zipped app of our form with further files; `signed_by`: a kit's folder and the stem of its key."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {SITE_FILE: json.dumps(SITE_APP), **dict(files)}.items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_text(content)
        if signed_by:
            from nvflare.lighter.utils import load_private_key_file, sign_folders

            kit, stem = signed_by
            sign_folders(folder, load_private_key_file(f"{kit}/startup/{stem}.key"), f"{kit}/startup/{stem}.crt")
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as written:
            for path in Path(folder).rglob("*"):
                if path.is_file():
                    written.write(path, path.relative_to(folder))
        return data.getvalue()


def commands():
    """Yield topic, body and number of the job of every command that NVFlare's clients know, and of some that need a form."""
    from nvflare.private.defs import SysCommandTopic, TrainingTopic
    from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

    known = {topic for one in ClientRequestProcessors.request_processors for topic in one.get_topics()}
    for topic in sorted(known):
        yield topic, {}, "../../south"
    secret = os.environ["FEDTAILOR_TARGET"]
    for command in (f"cat {secret}", "ls ..", "head ../local/fedtailor.json", "tail ../startup/client.key", "pwd; id"):
        yield SysCommandTopic.SHELL, command, JOB
    yield TrainingTopic.DELETE_RUN, "", "../runs"
    yield TrainingTopic.DEPLOY, app({"custom/evil.py": "import os"}), JOB
    yield TrainingTopic.DEPLOY, app({"config/config_fed_server.json": "{}"}), JOB
    yield TrainingTopic.DEPLOY, app(), "../../runs/evil"
    yield TrainingTopic.DEPLOY, app(), JOB  # of our form, and signed by nobody
    yield (
        TrainingTopic.DEPLOY,
        app(signed_by=(os.environ["FEDTAILOR_SERVER"], "server")),
        OTHER,
    )  # by somebody who submits no jobs
    for job in (JOB, OTHER):
        yield TrainingTopic.CHECK_RESOURCE, {}, job
        yield TrainingTopic.START_JOB, {}, job
        yield TrainingTopic.DELETE_RUN, "", job
        yield TrainingTopic.ABORT, "", job
    yield TrainingTopic.SHUTDOWN, "", JOB
    yield TrainingTopic.RESTART, "", JOB


def of_connections():
    """Yield topic and payload of every request that NVFlare's agent of connections knows: stop, go to another server, load others, show what is set."""
    from nvflare.fuel.f3.cellnet import net_agent

    payloads = {
        "_TOPIC_CHANGE_ROOT": "tcp://127.0.0.1:1",
        "_TOPIC_STRESS": {"targets": ["server"], "num": 10},
        "_TOPIC_SPEED": {"to": "server", "num": 3, "size": 10},
    }
    last = ("_TOPIC_CHANGE_ROOT", "_TOPIC_STOP_CELL", "_TOPIC_STOP")
    for name in sorted((name for name in vars(net_agent) if name.startswith("_TOPIC_")), key=lambda name: name in last):
        yield getattr(net_agent, name), payloads.get(name, {})


class Hostile:
    """The server's end of the connection to the site, used for what a server should not."""

    def __init__(self, cell):
        self.cell, self.found, self.token = cell, [], ""

    def ask(self, channel, topic, payload):
        from nvflare.private.defs import new_cell_message

        reply = self.cell.send_request(
            channel=channel, topic=topic, target=SITE, request=new_cell_message({}, payload), timeout=10
        )
        code = str(reply.headers.get("cn__return_code"))
        body = getattr(reply.payload, "body", reply.payload)
        self.found.append([channel, topic, f"{code}: {body} {reply.headers.get('cn__error', '')}"])
        return body

    def command(self, topic, body, job):
        from nvflare.private.admin_defs import Message
        from nvflare.private.defs import CellChannel, RequestHeader
        from nvflare.private.scheduler_constants import ShareableHeader

        request = Message(topic=topic, body=body)
        request.set_header(RequestHeader.JOB_ID, job)
        request.set_header(RequestHeader.APP_NAME, "app")
        request.set_header(RequestHeader.JOB_META, {"job_id": job, "deploy_map": {}, "submitter_role": "project_admin"})
        request.set_header(ShareableHeader.RESOURCE_RESERVE_TOKEN, self.token)
        reply = self.ask(CellChannel.CLIENT_MAIN, topic, request)
        if hasattr(reply, "get_header"):  # room was reserved
            self.token = reply.get_header(ShareableHeader.RESOURCE_RESERVE_TOKEN)


def send_all():
    from nvflare.fuel.f3.cellnet import net_agent
    from nvflare.fuel.f3.cellnet.core_cell import CoreCell

    while "server" not in CoreCell.ALL_CELLS or SITE not in CoreCell.ALL_CELLS["server"].agents:
        time.sleep(0.2)
    time.sleep(3)  # so that it listens to commands
    hostile, file = Hostile(CoreCell.ALL_CELLS["server"]), os.environ["FEDTAILOR_MISDEEDS"]
    for each in commands():
        hostile.command(*each)
    for topic, payload in of_connections():
        hostile.ask(net_agent._CHANNEL, topic, payload)
    Path(f"{file}.new").write_text(json.dumps(hostile.found))
    os.replace(f"{file}.new", file)


if __name__ == "__main__":
    threading.Thread(target=send_all, daemon=True).start()
    listener.main()
