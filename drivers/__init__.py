"""One module per device or family of devices, and nothing else: the list of files is the list of what is supported."""
