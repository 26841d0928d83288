"""A tiny job whose clients train LoRA of different ranks."""

LOW, LOWER = "client-01", "client-03"
OVERRIDES = {LOW: {"tuning": {"rank": 1}}, LOWER: {"tuning": {"rank": 2, "alpha": 6}}}  # of rank 4, alpha 4


def job_of(make_job, rule="flexlora", **changes):
    settings = {
        "tuning": {"kind": "lora", "rank": 4, "alpha": 4, "dropout": 0.1},
        "clients__overrides": OVERRIDES,
        "protocol__aggregation": {"kind": rule},
        "protocol__local__keep_optimizer": rule != "flora",
        "evaluation__generate__max_new_tokens": 3,
    }
    return make_job(**settings | changes)
