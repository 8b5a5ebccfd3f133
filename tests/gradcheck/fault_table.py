"""A pytest plugin: shows, at the end of a run, the table of planted faults that the tests caught."""

TITLE = "planted fault"


def pytest_terminal_summary(terminalreporter):
    """Collect what the tests recorded; the properties travel with the reports, also from pytest-xdist's workers."""
    reports = [report for group in ("passed", "failed") for report in terminalreporter.stats.get(group, [])]
    lines = [value for report in reports for key, value in report.user_properties if key == TITLE]
    if lines:
        terminalreporter.section(f"{len(lines)} planted faults, and the checks that caught them")
        for line in sorted(lines):
            terminalreporter.write_line(line)
