"""Kits: what a server and its sites are given."""
