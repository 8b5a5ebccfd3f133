"""A run whose second rank fails before the first step, as a machine without the data would."""

import sys

from click.exceptions import Exit

from tests.training.small_runs import small_dataset, small_recipe
from tinymixer.cli.ranks import joined_ranks
from tinymixer.errors import DataError
from tinymixer.training import Progress, Trainer

try:
    with joined_ranks() as ranks:
        if ranks.rank == 1:
            raise DataError("this rank has no data")
        Trainer(small_recipe(), sys.argv[1], small_dataset(), Progress(), ranks=ranks).run()
except Exit as end:
    sys.exit(end.exit_code)
