"""What both ends agree on before a job."""
