"""Whose data it is: the append-only registry of episodes and what is joined from it when data are read."""
