"""A job on many machines: kits, the private file of a site, both ends of a job, and handing it in."""
