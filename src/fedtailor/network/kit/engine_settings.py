"""NVFlare's own settings of a kit: which classes may run, who may do what, where its files go, how little it says."""

import json
from pathlib import Path
from typing import Any

from ...federation.nvflare.app import OURS, SERVER, THEIRS
from .site_file import write_private

__all__ = ["ORG", "OURS", "SERVER", "THEIRS", "prepare"]
ORG = "hub"  # the organisation in certificates; those of earlier networks stay valid


def prepare(kit: Path, role: str) -> None:
    """Write the engine's settings of a kit, for the place where it lies now: ours alone may run, logs are quiet, nothing is streamed.

    Args:
        role: "server" or "site".
    """
    local = kit / "local"
    for name, settings in (
        ("resources.json", _resources(kit, role)),
        ("authorization.json", _AUTHORIZATION),
        ("log_config.json", _LOGS if role == SERVER else _PRINTED),
    ):
        write_private(local / name, json.dumps(settings, indent=2) + "\n")
    for name in ("tmp", "jobs", "snapshots") if role == SERVER else ("tmp",):
        (kit / "work" / name).mkdir(parents=True, exist_ok=True)


def _resources(kit: Path, role: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [OURS[role], THEIRS[role]],
        "allow_log_streaming": False,
    }
    if role == "site":
        return {**settings, "client": {"retry_timeout": 30, "compression": "Gzip"}, "components": _SITE_COMPONENTS}
    storage = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    snapshots = {"path": storage, "args": {"root_dir": str(kit / "work" / "snapshots"), "uri_root": "/"}}
    return {
        **settings,
        "servers": [{"admin_storage": "transfer", "max_num_clients": 100, "heart_beat_timeout": 600, "admin_timeout": 10.0}],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {"uri_root": "/", "storage": snapshots},
        },
        "components": [
            {
                "id": "job_scheduler",
                "path": "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
                "args": {"max_jobs": 1},
            },
            {
                "id": "job_manager",
                "path": "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
                "args": {"uri_root": str(kit / "work" / "jobs"), "job_store_id": "job_store"},
            },
            {"id": "job_store", "path": storage},
            {
                "id": "process_launcher",
                "path": "fedtailor.federation.nvflare.job_launchers.ServerJobs",
                "args": {},
            },
        ],
    }


_SITE_COMPONENTS = [
    {
        "id": "resource_manager",
        "path": "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager",
        "args": {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0, "expiration_period": 300},
    },
    {
        "id": "resource_consumer",
        "path": "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer",
        "args": {},
    },
    {
        "id": "process_launcher",
        "path": "fedtailor.federation.nvflare.job_launchers.SiteJobs",
        "args": {},
    },
]
_NOTHING = dict.fromkeys(("clone_job", "byoc", "server-predeployed-flwr", "shell_commands"), "none")
_AUTHORIZATION = {  # nobody sends code, reads a site's files by the engine's shell, or looks at its logs
    "format_version": "1.0",
    "permissions": {
        "project_admin": {
            **_NOTHING,
            **dict.fromkeys(("submit_job", "manage_job", "download_job", "view", "operate", "app_command"), "any"),
        }
    },
}
_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"()": "nvflare.fuel.utils.log_utils.BaseFormatter", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {
        "logFileHandler": {
            "class": "logging.handlers.RotatingFileHandler",
            "level": "WARNING",
            "formatter": "plain",
            "filename": "log.txt",
            "mode": "a",
            "maxBytes": 20971520,
            "backupCount": 3,
        }
    },
    "loggers": {"root": {"level": "WARNING", "handlers": ["logFileHandler"]}},
}
_PRINTED = {  # a site's engine writes no file outside its folder: what it says is kept by the launcher
    **_LOGS,
    "handlers": {"printed": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "plain"}},
    "loggers": {"root": {"level": "WARNING", "handlers": ["printed"]}},
}
