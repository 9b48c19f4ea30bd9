"""``python -m DSAReconLib`` is ``dsarecon``."""

import sys

if __name__ == "__main__":
    try:
        from DSAReconLib.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:  # while the command itself is still being loaded
        sys.exit(130)
