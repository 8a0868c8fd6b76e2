"""`python -m scrubjay` is the `scrubjay` command."""

import sys

from scrubjay.cli import main

sys.exit(main())
