"""What rounds of several protocols share."""
