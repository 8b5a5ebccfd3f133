"""Studies: what the paper found, asked again on few images, one command each.

A study is a module here with a `STUDY` (see `study.py`), listed in `plan.py`. Its folder holds `study.json` (how it was
begun), `parts/NAME/` (a run folder for what is trained, and `result.json`), and, written when the command ends,
`numbers.json` and the pictures. No part ever sees a test image.
"""

from tinymixer.studies.numbers import Numbers, PartResult, Spread
from tinymixer.studies.plan import find_study, study_names
from tinymixer.studies.running import StudyOutcome, StudyProgress, run_study
from tinymixer.studies.study import Form, Part, Study

__all__ = [
    "Form", "Numbers", "Part", "PartResult", "Spread", "Study", "StudyOutcome", "StudyProgress", "find_study",
    "run_study", "study_names",
]  # fmt: skip
