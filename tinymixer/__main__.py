"""`python -m tinymixer`, the same as `tinymixer`."""

import sys

from tinymixer.cli import main

sys.exit(main())
