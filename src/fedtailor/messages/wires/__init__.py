"""Codes in which logits and activations travel."""
