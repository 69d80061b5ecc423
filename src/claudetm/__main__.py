"""The entry point: the version at once, credentials out of the environment, then the command line."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 blocked or known error, 2 stopped and resumable, 3 a bug."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from claudetm import __version__

        sys.stdout.write(f"claudetm {__version__}\n")
        return
    # Nothing that is imported is ever garbage: a command that only looks ends before a collection could pay.
    gc.disable()
    from claudetm.credentials import withdraw

    withdraw()
    from claudetm.cli.app import run

    run()


if __name__ == "__main__":
    main()
