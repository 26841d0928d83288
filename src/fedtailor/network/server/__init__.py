"""The server's end of a job."""
