"""Looks at what a bed stands on, before and beside the daemon: a line each, well or not, and what to do.

Whoever runs it has other rights than the service: root opens what the service may not, and reaches servers that the
service's firewall hides. So wherever the unit of the bed is installed, its own settings are asked: where it may write,
which secrets it is given, which addresses it reaches. It sends one event to each sink, marked as the doctor's, because
only a write shows that writing is allowed.
"""
