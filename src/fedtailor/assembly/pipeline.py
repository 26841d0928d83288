"""Turns a job into its parts: data, models, examples, protections, protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..clock import today
from ..data.divide import Divided
from ..interfaces import Plan
from ..job import Job
from ..learning.worker import Worker
from ..messages import Manifest, manifest_of
from ..models.kinds import kind_of
from ..privacy import RunBudget
from ..protocols import Bench, Ready, ready_protocol
from ..protocols.rounds.sampling import Sampler
from ..records import ClientId, Example
from ..tasks import Task
from ..tasks.evaluate import figure_names
from ..tasks.task import at_moment, reads_of
from .calls import calls_of, measures_gain
from .cuts import own_cuts
from .data import divide_data
from .estimates import clients_of
from .examples import Examples, prepare_examples
from .fits import Warn, checked_threads, fitting_protocol, warn_of_what_is_missing
from .own_tasks import resolved_tasks, task_names
from .parts import Parts
from .private import with_privacy
from .protected import coins_of, plan_of, settled, summed_protocol
from .public import known_examples, load_public
from .ranks import auto_ranks
from .server_model import Models, load_models

USUAL_THREADS = torch.get_num_threads()  # what torch chose when the process began


def assemble(
    job: Job,
    *,
    given: Any = None,
    clients_folder: Path | None = None,
    divided: Divided | None = None,
    site: Path | None = None,
    begun: bool = False,
    trust_times: bool = False,
    clock: str | None = None,
    warn: Warn = lambda text: None,
    doing: Warn = lambda what: None,
) -> Parts:
    """Load, divide and tokenize the data, load the backbone and put the tuning in place.

    Args:
        given: data in memory that take the place of `data.train`: a data set, or a mapping of train, validation and test.
        clients_folder: where each client's own folder is made; in memory if left out.
        divided: data divided already, in the place of those that the job names.
        site: the folder of the site of a network that this is.
        begun: whether a checkpoint holds the trained weights, so that `tuning.initial` is not needed any more.
        trust_times: whether files of backbones whose size and times are as before are not hashed again; for looks at a job, not for runs.
        clock: the moment that the run's chat template has written so far; left out: midnight of this day.
        warn: called with a sentence about everything that was left out or chosen for the user.
        doing: called with what is under way, for those who wait.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
    """
    torch.set_num_threads(USUAL_THREADS if job.threads == "auto" else checked_threads(job.threads))
    job = settled(job, warn)
    doing("reading the data and dividing them among clients")
    keep_tokens = (
        kind_of(job.task.backbone).of_texts and job.data.cache and given is None and divided is None
    )  # of files alone, and never at a site of a network
    divided = divided or divide_data(job, given)
    cuts = own_cuts(job)
    public = load_public(job, divided, warn)
    task, own = _tasks(job, divided, public, clock or today())
    doing(f"loading the backbone {job.backbone}")
    models = load_models(job, task, divided, own, begun=begun, trust_times=trust_times, warn=warn)
    warn_of_what_is_missing(divided, warn, measured=not reads_of(job.task).get("whole"))
    doing("preparing the examples")
    examples = prepare_examples(job, models, divided, keep_tokens=keep_tokens, warn=warn)
    plan = plan_of(job, models.shared, clients=len(examples.infos))
    examples, budget = with_privacy(job, plan, divided, examples, folder=clients_folder, warn=warn)
    settings = summed_protocol(job, fitting_protocol(job, task, divided, clients=len(examples.infos)), plan, warn)
    protocol = ready_protocol(settings, _bench(job, models.worker, divided, site=site, public=public, cuts=cuts, warn=warn))
    protocol.check_models(models.worker, models.own_workers)
    validated = examples.validated and measures_gain(job, protocol)
    parts = Parts(
        job=job,
        backbone=models.backbone,
        worker=models.worker,
        protocol=protocol,
        clients=clients_of(job, protocol, models, examples, clients_folder, share=plan.rate, validated=validated),
        sampler=_sampler(job, examples, plan, budget),
        plan=plan,
        budget=budget,
        server_validation=examples.files["validation"],
        server_test=examples.files["test"],
        divided=divided,
        public=public,
        manifest=_manifest(job, protocol, models),
        precision=models.precision,
        ranks=models.of_clients,
        by_rank=models.by_rank,
        auto_ranks=auto_ranks(job),
    )
    if parts.goes_with_last_round and not protocol.own_models and job.stop.keep == "best":
        warn(
            f"personalization: {job.personalization.kind}: the last round is kept: clients no longer have their weights of an earlier one"
        )
    return parts


def _sampler(job: Job, examples: Examples, plan: Plan, budget: RunBudget | None) -> Sampler:
    return Sampler(
        clients=examples.infos,
        per_round=round(plan.expected),
        select=job.clients.select,
        seed=job.seed,
        most_weight=job.clients.most_weight,
        coins=coins_of(budget),
    )


def _tasks(job: Job, divided: Divided, public: Sequence[Example], moment: str) -> tuple[Task, Mapping[ClientId, Task]]:
    """Return the job's task, and those of clients that have another, with all that they take from the data."""
    own = resolved_tasks(job, divided, moment)
    return at_moment(job.task.resolve(known_examples(divided, public, without=own), job.base), moment), own


def _bench(
    job: Job,
    worker: Worker,
    divided: Divided,
    *,
    site: Path | None,
    public: Sequence[Example],
    cuts: Mapping[ClientId, int],
    warn: Warn,
) -> Bench:
    """Return what the job's protocol is made ready with."""
    return Bench(
        worker=worker,
        base=job.base,
        name=job.name,
        site=site,
        rounds=job.stop.rounds,
        patience=job.stop.patience,
        keeps_best=job.stop.keep == "best",
        public=public,
        test=divided.server_test,
        fewest=min(map(len, divided.train.values()), default=0),
        cuts=cuts,
        own_backbones=[client for client, own in sorted(job.clients.overrides.items()) if own.backbone is not None],
        task=str(job.task.kind),
        tasks=task_names(job),
        warn=warn,
    )


def _manifest(job: Job, protocol: Ready, models: Models) -> Manifest:
    """Return what may cross a client's border."""
    worker = models.worker
    tasks = {id(each.task): figure_names(each.task, each.evaluation) for each in (worker, *models.own_workers.values())}
    figures = list(dict.fromkeys(name for names in tasks.values() for name in names))
    calls = calls_of(job, protocol, models.shared, figures, home=bool(worker.home), most_rank=models.most_rank)
    common = set.intersection(*map(set, tasks.values()))
    return manifest_of(calls if len(tasks) == 1 else [call.for_several(common) for call in calls])
