"""The other end of each wire: simulated devices that share no payload layout with the drivers they talk to."""
