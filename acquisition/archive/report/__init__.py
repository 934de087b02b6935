"""A report from readings: what was recorded of one run, drawn for people in one file that needs nothing else."""
