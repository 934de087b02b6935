"""What the daemon does beside reading devices and sending: clock, identities, retention, watchdog, registry."""
