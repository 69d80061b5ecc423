"""What the core needs from the world, as async Protocols. Every adapter passes the port's conformance suite."""
