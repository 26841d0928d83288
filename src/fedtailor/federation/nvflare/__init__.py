"""Clients on other machines, reached over NVFlare. Nothing here is needed unless a job runs on a network."""
