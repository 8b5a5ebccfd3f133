"""A run whose second rank stops to answer after a few steps, as behind a broken network."""

import sys
import time

from tests.training.small_runs import Recorder, small_dataset, small_recipe
from tinymixer.cli.ranks import joined_ranks
from tinymixer.training import Trainer

with joined_ranks() as ranks:
    silent = Recorder(lambda step: time.sleep(90) if ranks.rank == 1 and step == 3 else None)
    Trainer(small_recipe(), sys.argv[1], small_dataset(), silent, ranks=ranks).run()
