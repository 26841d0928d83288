"""Two adapters in one model."""
