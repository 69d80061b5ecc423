"""What ships for tests and rehearsals: memory adapters, conformance suites, the scripted model."""
