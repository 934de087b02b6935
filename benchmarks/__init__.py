"""Speed and footprint, measured beside peers in the same run; `python -m benchmarks` prints a table and keeps JSON."""
