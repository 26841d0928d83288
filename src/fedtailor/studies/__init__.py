"""Many runs of one job: baselines, sweeps."""
