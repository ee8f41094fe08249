"""`python -m ae_lightning`, or this file by its path: the same as the `ae-lightning` command."""

import os
import sys

if not __package__:  # by its path: Python looks for modules in this folder first, where ours have names such as `files`
    folder = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [*(path for path in sys.path if os.path.realpath(path) != folder), os.path.dirname(folder)]

from ae_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
