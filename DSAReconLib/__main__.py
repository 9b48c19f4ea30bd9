"""``python -m DSAReconLib`` is ``dsarecon``."""

import sys

from DSAReconLib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
