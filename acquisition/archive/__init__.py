"""The data manager's side: one patient's run, complete and documented, in the formats people already use."""

from acquisition.archive.opened import open_archive

__all__ = ["open_archive"]
