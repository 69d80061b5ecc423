"""What each role is told, and the form of what it answers."""
