"""Bedside data acquisition: the daemon, which knows no device by name.

A Session pumps a Transport through a Driver, stamps each Observation by a Clock and appends it to the Journal;
a Forwarder carries the Journal to a Sink. An Episode says whose data it is.

Research use only. Records data output by bedside devices for retrospective research; not for diagnosis,
monitoring, alarm or treatment decisions. Does not replace device displays, alarms or records.
"""

INTENDED_USE = (
    "Research use only. Records data output by bedside devices for retrospective research. "
    "Not for diagnosis, monitoring, alarm or treatment decisions. "
    "Does not replace device displays, alarms or records."
)
