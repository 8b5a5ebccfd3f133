"""The old name of `progress`, which the test_tasks.py in older learners' folders imports."""

from tinymixer.lessons.progress import grade_exercise

__all__ = ["grade_exercise"]
