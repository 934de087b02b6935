"""Formats that more than one device speaks, pure: bytes in, meaning out, and bytes to send; no I/O, no clock."""
