"""The commands that make a data set and prove it unchanged: `ecmo-daq export` and `ecmo-daq verify`."""

from __future__ import annotations


def export() -> None:
    """Write one subject's run, or a bed's, as a self-describing data set."""


def verify() -> None:
    """Prove that a data set is unchanged."""
