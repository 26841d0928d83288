"""A server that plays a script, in the place of NVFlare's."""

import json

from fedtailor.federation.nvflare.line import ServerAway

ENDED, STOPPED = "FINISHED:COMPLETED", "FINISHED:EXECUTION_EXCEPTION"


class ServerSession:
    """Plays a script for each submission: statuses, or what is raised when it is asked; then what the job leaves."""

    def __init__(self, *scripts):
        self.scripts, self.now, self.submitted, self.aborted, self.back, self.restarts = list(scripts), None, [], [], 0, 0
        self.signs, self.silent, self.away, self.marks = 0.0, {}, 0, []

    def connected(self):
        self.signs += 1.0
        return {"site-1": self.signs, "site-2": self.signs, **self.silent}

    def started(self):
        return f"start {self.restarts}"

    def submit(self, folder, mark):
        self.marks.append(mark)
        if self.away:
            self.away -= 1
            raise ServerAway("away")
        self.submitted.append(json.loads((folder / "meta.json").read_text())["mandatory_clients"])
        self.now = self.scripts.pop(0)
        return f"job-{len(self.submitted)}"

    def status(self, job):
        status = self.now["statuses"][0] if len(self.now["statuses"]) == 1 else self.now["statuses"].pop(0)
        if isinstance(status, BaseException):
            raise status
        return status

    def ask(self, job, data):
        if not self.now.get("answers", True):
            return None
        return {"events": self.now.get("events", [])[data["after"] :]}

    def abort(self, job):
        self.aborted.append(job)

    def come_back(self, patience_s):
        self.back += 1

    def fetch(self, job, folder):
        if self.now.get("outcome"):
            (folder / "workspace" / "run").mkdir(parents=True)
            told = {"ended": "done", "events": self.now.get("events", []), **self.now["outcome"]}
            (folder / "workspace" / "outcome.json").write_text(json.dumps(told))
        return folder


def script(*statuses, **rest):
    return {"statuses": list(statuses), **rest}
