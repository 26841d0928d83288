"""What may cross a client's border in a run: the protocol's calls, and those of each feature beside it."""

from collections.abc import Sequence

from ..errors import SettingError
from ..federation.ranked import any_rank
from ..interfaces import AtClient, Shaping
from ..job import Job
from ..messages import Call
from ..messages.work import GAIN, MEMORY
from ..personalization import goes_with_last_round
from ..protocols import Ready
from ..protocols.alone import alone_call
from ..protocols.evaluation import evaluation_call
from ..protocols.personal import personal_call
from ..protocols.prompting.messages import any_prompt
from ..tensors import Tensors
from ..tuning.asked import ranks_of


def calls_of(
    job: Job, protocol: Ready, shared: Tensors, figures: Sequence[str], *, home: bool, most_rank: int | None
) -> list[Call]:
    """Return all calls of a run.

    Args:
        shared: the exchanged weights.
        figures: names that evaluations can report.
        home: whether clients have weights of their own, not among `shared`.
        most_rank: the largest rank of LoRA, if ranks differ among clients.
    """
    own = home or protocol.own_models or goes_with_last_round(job.personalization)
    calls = protocol.calls(shared, figures, rounds=job.stop.rounds)
    if not ranks_of(job.tuning):
        calls = [call.lacking(MEMORY) if call.trains == "round" else call for call in calls]
    if not measures_gain(job, protocol):
        calls = [call.lacking(GAIN) if call.trains == "round" else call for call in calls]
    evaluation = evaluation_call({} if protocol.own_models else shared, figures, home=own)
    calls += [evaluation if protocol.trains else any_prompt(evaluation)] if protocol.evaluates else []
    if job.personalization.personal:
        retained = job.evaluation.retained is not None
        calls += [personal_call(shared, figures, retained=retained)]
        calls += [alone_call(shared, figures, retained=retained)] if job.evaluation.local_only else []
    for phase in job.after:
        calls = with_phase(calls, phase.section, phase.calls(shared, figures))
    calls = calls if most_rank is None else [any_rank(call, most_rank) for call in calls]
    besides = [call for protection in job.protection if isinstance(protection, AtClient) for call in protection.calls()]
    return [*(shaped(job, call) for call in calls), *besides]


def with_phase(calls: Sequence[Call], section: str, own: Sequence[Call]) -> list[Call]:
    """Return the calls with those of a phase.

    Raises:
        SettingError: if a kind of message of it is taken.
    """
    taken = {form.kind for call in calls for form in (call.question, *call.answers)}
    for form in (form for call in own for form in (call.question, *call.answers)):
        if form.kind in taken:
            raise SettingError(
                f"after: {section} sends messages of kind {form.kind!r}, which others do; call them something else"
            )
    return [*calls, *own]


def shaped(job: Job, call: Call) -> Call:
    """Return a call as it is under the job's protections."""
    for protection in job.protection:
        call = protection.shape(call) if isinstance(protection, Shaping) else call
    return call


def measures_gain(job: Job, protocol: Ready) -> bool:
    """Return whether a round's gain is measured: not where it is switched off, nor where what is trained is but a part of a client's model."""
    return job.evaluation.local_gain and protocol.knows_gain and not goes_with_last_round(job.personalization)
