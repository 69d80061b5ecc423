"""The monitor as a service: systemd units, launchd agents, and the word that systemd is told by."""
