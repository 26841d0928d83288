"""What the processes of a site may do, as the kernel holds them to it."""
