"""Products of LoRA factors."""
