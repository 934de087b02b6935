"""The commands of `ecmo-daq` beside the daemon, and what only a command needs; `acquisition.cli` imports them."""
