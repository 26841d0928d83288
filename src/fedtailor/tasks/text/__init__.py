"""Texts: tokens, prompts, generation."""
