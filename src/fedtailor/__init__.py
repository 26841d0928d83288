"""Customize large models across private data."""
