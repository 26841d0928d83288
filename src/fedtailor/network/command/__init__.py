"""What a person starts: networks, jobs, processes."""
