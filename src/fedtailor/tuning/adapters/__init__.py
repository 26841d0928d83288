"""PEFT's adapters, and several in one model."""
