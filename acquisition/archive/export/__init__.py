"""A data set from readings: tables, waves, what describes them, and the proof that nothing was changed."""
