"""A site's end of a job."""
