"""A Sego PM server in memory, of the contract in openapi.yaml: for tests, and for whoever wants to try the source."""

from claudetm.testing.sego.faults import Fault, Lost, Silent
from claudetm.testing.sego.serve import serve
from claudetm.testing.sego.state import Sandbox

__all__ = ["Fault", "Lost", "Sandbox", "Silent", "serve"]
