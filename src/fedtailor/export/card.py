"""The README.md of an exported result: what it is, what it was made of, what was measured, how to load it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..job import Job
from ..metrics.figure import shown_in
from ..models import PACKAGED
from ..models.kinds import kind_of
from ..printable import printable
from ..run_files import shared_part
from ..tuning import written
from ..yaml_text import write_yaml
from .usage import Use, prompt_format, usage


def model_card(job: Job, summary: Mapping[str, Any], use: Use) -> str:
    """Return the card as Markdown with the header that model hubs read.

    Args:
        job: of the run.
        summary: of the run, as in summary.json.
        use: how what was exported is loaded.
    """
    return card(job, summary, name=use.name, to=use.to, what=prompt_format(job, use), use=usage(job, use))


def card(job: Job, summary: Mapping[str, Any], *, name: str, to: str, what: str, use: str) -> str:
    """Return the card of a result called `name` in the form `to`, with what goes in and comes out, and how it is used."""
    sections = [
        _header(job, to),
        f"# {name}\n\n{_about(job, summary)}",
        f"## What goes in, and what comes out\n\n{what}",
        f"## How to use it\n\n{use}",
        f"## What was measured\n\n{_figures(summary)}",
        f"## Data\n\n{_data(job, summary)}",
        f"## License\n\n{_license(job)}",
        f"## Settings\n\n```yaml\n{_settings(job)}```",
    ]
    return printable("\n\n".join(sections)) + "\n"


def base_name(job: Job) -> str:
    """Return what a reader elsewhere knows the backbone by: the hub's name, or that of the file or folder alone."""
    if job.backbone in PACKAGED:
        return PACKAGED[job.backbone].origin
    return Path(job.backbone).name if job.path(job.backbone).exists() else job.backbone


def _header(job: Job, to: str) -> str:
    settings = job.to_dict()
    license = PACKAGED[job.backbone].license if job.backbone in PACKAGED else "other"
    facts = {
        "base_model": base_name(job),
        "library_name": {"merged": kind_of(job.task.backbone).library, "peft": "peft"}.get(to, "fedtailor"),
        "license": license,
        "pipeline_tag": kind_of(job.task.backbone).pipeline,
        "tags": ["fedtailor", "federated", settings["tuning"]["kind"]],
    }
    return f"---\n{write_yaml(facts)}---"


def _about(job: Job, summary: Mapping[str, Any]) -> str:
    settings = job.to_dict()
    clients = (summary.get("clients") or {}).get("count", job.clients.count)
    owners = (
        f"{clients} clients, whose examples stayed with them" if clients else "several clients, whose examples stayed with them"
    )
    text = (
        f"{base_name(job)}, customized by fedtailor for the task {settings['task']['kind']}: tuning "
        f"{settings['tuning']['kind']}, protocol {settings['protocol']['kind']}, {summary.get('rounds', '?')} rounds with {owners}."
    )
    if job.backbone in PACKAGED:
        text += f" The backbone is the packaged {job.backbone}: {PACKAGED[job.backbone].about}."
    part = shared_part(summary, written(job.tuning).folder)
    text += f" {part}" if part else ""
    sha256 = summary.get("backbone_sha256")
    return text + (f" SHA-256 of the backbone's weights: `{sha256}`." if sha256 else "")


def _figures(summary: Mapping[str, Any]) -> str:
    metrics = summary.get("metrics") or {}
    before, after = metrics.get("before") or {}, metrics.get("after") or {}
    rows = [
        f"| {key} | {_number(before.get(key))} | {_number(after.get(key))} |"
        for key in shown_in("page")
        if key in before or key in after
    ]
    if not rows:
        return "Nothing was measured."
    over = summary.get("metrics_over", "test set")
    table = "\n".join([f"Over the {over}, before and after.", "", "| figure | before | after |", "|---|---|---|", *rows])
    traffic = summary.get("traffic") or {}
    sent = f"Sent: {traffic.get('up_bytes', 0):,} bytes up, {traffic.get('down_bytes', 0):,} bytes down."
    trained = summary.get("trainable_parameters")
    return f"{table}\n\n{sent}" + (f" Trained weights: {trained:,}." if trained else "")


def _data(job: Job, summary: Mapping[str, Any]) -> str:
    train = job.data.train
    named = ", ".join(_source(part) for part in train) if isinstance(train, tuple | list) else _source(train)
    lines = [f"Training data: {named}, divided among clients by `{job.to_dict()['clients']['partition']['kind']}`."]
    facts = summary.get("data") or {}
    if facts.get("divergence") is not None:
        lines.append(
            f"Mean pairwise Jensen-Shannon divergence of the clients' parts, over {facts.get('divergence_over')}: "
            f"{_number(facts['divergence'])}."
        )
    lines.append("No example is in this folder; weights trained on private examples may still reveal some of them.")
    return "\n".join(lines)


def _license(job: Job) -> str:
    known = f"The backbone's license is {PACKAGED[job.backbone].license}." if job.backbone in PACKAGED else (
        f"See the license of the backbone, {base_name(job)}."
    )  # fmt: skip
    return f"{known} These weights derive from it and from the clients' data: check that the terms of both allow your use."


def _settings(job: Job) -> str:
    return write_yaml({key: value for key, value in job.to_dict().items() if key != "base"})  # base: a path of one machine


def _source(source: object) -> str:
    """Return a source's name; of an absolute path the last part, as the others are of one machine."""
    if not isinstance(source, str | Path):
        return f"in memory ({type(source).__name__})"
    return f"`{Path(source).name if Path(source).is_absolute() else source}`"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"
