"""`python -m ae_lightning`: the same as the `ae-lightning` command."""

import sys

from ae_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
