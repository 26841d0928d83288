"""One run: a table a file."""
