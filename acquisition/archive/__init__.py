"""The data manager's side: one patient's run, complete and documented, in the formats people already use."""
