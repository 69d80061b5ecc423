"""Git: the run's repository, the clean room and snapshots."""
