"""Makes a lesson's trainings shorter in a browser, and says so."""

from tinymixer.abilities import in_browser


def fewer_in_browser(usual: int, fewer: int, what: str = "epochs") -> int:
    """`usual`, or `fewer` in a browser, where Python multiplies matrices on one thread and without a BLAS.

    There it also prints a sentence, since figures and curves then differ from those that the text speaks of.
    """
    if not in_browser():
        return usual
    print(
        f"In a browser Python computes slowly, so this takes {fewer} {what} instead of {usual}: the figures differ "
        "from the text's. On your own machine the lesson takes them all."
    )
    return fewer
