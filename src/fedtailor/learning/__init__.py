"""What one client does with the model and its own examples."""
