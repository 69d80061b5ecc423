"""The state directory: journal, lock, inbox, views."""
