"""What of NVFlare's own is touched: the signal that ends calls which are pending."""

from types import SimpleNamespace

import pytest

pytest.importorskip("nvflare")

from nvflare.apis.signal import Signal

from fedtailor.federation.nvflare import flare


@pytest.fixture
def job(monkeypatch):
    """Stand for the engine inside a job's main function."""
    whole = Signal()
    sites = [SimpleNamespace(name=name, backend=SimpleNamespace(abort_signal=whole)) for name in ("b", "a")]
    context = SimpleNamespace(abort_signal=whole, is_aborted=lambda: whole.triggered)
    monkeypatch.setattr(flare, "collab", SimpleNamespace(context=context, clients=sites))
    return SimpleNamespace(whole=whole, sites=sites)


def test_the_end_of_the_work_ends_pending_calls_and_is_no_abort(job):
    line = flare.CollabLine()
    assert line.sites == ["a", "b"]
    assert [site.backend.abort_signal.triggered for site in job.sites] == [False, False]
    line.end()
    assert [site.backend.abort_signal.triggered for site in job.sites] == [True, True]
    assert not job.whole.triggered
    assert not line.stopped()


def test_an_abort_of_the_job_still_ends_pending_calls(job):
    line = flare.CollabLine()
    job.whole.trigger("aborted")
    assert all(site.backend.abort_signal.triggered for site in job.sites)
    assert line.stopped()
