"""Sweeps: the same recipe with different values of some fields, compared by validation accuracy.

A sweep is a folder: `sweep.toml` (what is compared), `journal.log` (Optuna's record of all trials), a run folder for
each trial, and, written as trials end, `table.csv`, `results.json`, `best.toml` and `sweep.png`. Any number of
processes may work on one folder. No trial ever sees a test image.
"""

from tinymixer.sweeps.fields import SweptField, parse_grid, parse_search
from tinymixer.sweeps.plan import SweepPlan
from tinymixer.sweeps.results import TrialRow
from tinymixer.sweeps.sweep import Sweep, begin_sweep

__all__ = ["Sweep", "SweepPlan", "SweptField", "TrialRow", "begin_sweep", "parse_grid", "parse_search"]
