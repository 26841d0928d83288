"""The one form that our jobs have for NVFlare: which classes run at both ends, and the file that a site takes. It needs no NVFlare."""

from typing import Any

SERVER = "server"  # the server's name in certificates
OURS = {SERVER: "fedtailor.network.job_ends.AtServer", "site": "fedtailor.network.job_ends.AtSite"}
THEIRS = {
    SERVER: "nvflare.collab.runtime.controller.CollabController",
    "site": "nvflare.collab.runtime.executor.CollabExecutor",
}
SITE_FILE = "config/config_fed_client.json"
SITE_APP: dict[str, Any] = {
    "format_version": 2,
    "executors": [{"tasks": ["*"], "executor": {"path": THEIRS["site"], "args": {"client_obj_id": "_client"}}}],
    "components": [{"id": "_client", "path": OURS["site"], "args": {}}],
}
