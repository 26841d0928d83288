"""NVFlare's own server with misdeeds: `python -m hostile_server ADDRESS MODULE ...` serves as ours does, and sends every site that comes all that it can think of.

What came back is written to the file that FEDTAILOR_MISDEEDS names, one entry a command.
"""

import io
import json
import os
import threading
import time
import zipfile

from fedtailor.federation.nvflare import listener
from fedtailor.federation.nvflare.app import SITE_APP, SITE_FILE

SITE, JOB = "north", "356900a9-3c7e-46d3-beac-26cf7cd0005d"


def app(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as written:
        written.writestr(SITE_FILE, json.dumps(SITE_APP))
        for name, content in files.items():
            written.writestr(name.replace("__", "/") + ".py", content)
    return data.getvalue()


def misdeeds():
    """Yield topic, body and number of the job of every command that NVFlare's clients know, and some that need a form."""
    from nvflare.private.defs import SysCommandTopic, TrainingTopic
    from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

    known = {topic for one in ClientRequestProcessors.request_processors for topic in one.get_topics()}
    for topic in sorted(known - {TrainingTopic.DEPLOY, TrainingTopic.START_JOB}):
        yield topic, {}, "../../south"
    secret = os.environ["FEDTAILOR_TARGET"]
    for command in (f"cat {secret}", "ls ..", "head ../local/fedtailor.json", "tail ../startup/client.key"):
        yield SysCommandTopic.SHELL, command, JOB
    yield TrainingTopic.DELETE_RUN, "", "../runs"
    yield TrainingTopic.DEPLOY, app(custom__evil="import os"), JOB
    yield TrainingTopic.DEPLOY, app(), "../../runs/evil"
    yield TrainingTopic.START_JOB, {}, JOB  # nothing was deployed
    yield TrainingTopic.SHUTDOWN, "", JOB
    yield TrainingTopic.RESTART, "", JOB


def send_all():
    from nvflare.fuel.f3.cellnet.core_cell import CoreCell
    from nvflare.private.admin_defs import Message
    from nvflare.private.defs import CellChannel, RequestHeader, new_cell_message

    while "server" not in CoreCell.ALL_CELLS or SITE not in CoreCell.ALL_CELLS["server"].agents:
        time.sleep(0.5)
    time.sleep(5)  # so that it listens to commands
    cell, found = CoreCell.ALL_CELLS["server"], []
    for topic, body, job in misdeeds():
        request = Message(topic=topic, body=body)
        request.set_header(RequestHeader.JOB_ID, job)
        request.set_header(RequestHeader.JOB_META, {"job_id": job, "deploy_map": {}})
        reply = cell.send_request(
            channel=CellChannel.CLIENT_MAIN, topic=topic, target=SITE, request=new_cell_message({}, request), timeout=10
        )
        answer = reply.payload
        found.append([topic, str(getattr(answer, "body", answer)), str(reply.headers)])
    with open(os.environ["FEDTAILOR_MISDEEDS"] + ".new", "w") as file:
        json.dump(found, file)
    os.replace(os.environ["FEDTAILOR_MISDEEDS"] + ".new", os.environ["FEDTAILOR_MISDEEDS"])


if __name__ == "__main__":
    threading.Thread(target=send_all, daemon=True).start()
    listener.main()
