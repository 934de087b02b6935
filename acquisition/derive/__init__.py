"""Signals computed from others, pure and streaming; each module is one signal and carries its definition."""
