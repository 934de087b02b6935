"""Destinations: each delivers a whole batch now or says why not; none buffers, none retries."""
