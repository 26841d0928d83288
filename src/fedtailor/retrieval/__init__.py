"""Retrieval: documents cut into passages, indexed at each client, found by meaning and by words, read with their sources."""
