"""What a run does after its last round: it evaluates the kept weights, carries its phases out, and writes the result and the summary."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..assembly import Parts
from ..tuning import written
from .after import carry_out_after
from .clock import Clock
from .ending import End, Phase
from .folder_files import file_text
from .last import ask_last
from .measure import Evaluator, Moment
from .personal import personalize
from .planned import Planned
from .progress import Progress
from .retained import measure_retained, retained_section
from .summary import kept_weights, summarize
from .tasks import tasks_section

PHASES: Sequence[Phase] = (personalize, ask_last, retained_section, tasks_section, carry_out_after)


def finish(
    parts: Parts,
    evaluator: Evaluator,
    progress: Progress,
    clock: Clock,
    *,
    stopped_by: str,
    baseline: str,
    planned: Planned,
) -> dict[str, Any]:
    """Evaluate the kept weights, let clients make them their own, write the result and the summary."""
    folder = evaluator.folder
    shared = kept_weights(parts, progress)
    index = progress.state.version if shared is progress.state.shared else progress.figures["best_round"]
    after: Moment = evaluator.measure(progress, shared, round=index, name="after", generate=True)
    measure_retained(parts, progress, shared, evaluator.notify, round=index)
    clock.lap(progress, "evaluate")
    end = End(
        parts=parts,
        federation=evaluator.federation,
        progress=progress,
        shared=shared,
        after=after,
        round=index,
        folder=folder,
        notify=evaluator.notify,
    )
    sections: dict[str, Any] = {}
    for phase in PHASES:
        sections |= phase(end)
    clock.lap(progress, "server")
    parts.worker.load(shared)
    if result := written(parts.job.tuning).folder:
        folder.write_model(result, partial(parts.worker.tuning.save, parts.worker.model))
    for name, rows in progress.rows.items():
        folder.write_rows(name, rows)
    clock.lap(progress, "save")
    summary = summarize(parts, progress, after, stopped_by=stopped_by, baseline=baseline, sections=sections)
    summary["plan"] = planned.section(progress)
    folder.seal(["partition.parquet", *(f"{name}.parquet" for name in progress.rows), *([result] if result else [])])
    folder.write_text("summary.json", file_text(summary))
    folder.seal(["summary.json"])
    return summary
