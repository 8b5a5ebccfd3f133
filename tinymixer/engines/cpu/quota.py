"""How much processor time a container may use: `docker run --cpus 2` shows all the machine's cores and gives two."""

from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Cores' worth of time that this process and its siblings in the same control group may use; None for no limit.

    cgroups      where the control groups are mounted
    membership   the file that says which groups the process is in, lines like "0::/user.slice" (version 2) or
                 "4:cpu,cpuacct:/docker/ab12" (version 1)

    A limit also holds for all groups below it, so the smallest one from the process's own group up to the root counts.
    In a container the paths may be the host's, which do not exist inside; there the mounted root is its own group.
    """
    version_2, version_1 = ["/"], ["/"]
    for line in (_read(membership) or "").splitlines():
        _, controllers, path, *_ = [*line.split(":", 2), "", ""]
        if not controllers:
            version_2.append(path)
        elif "cpu" in controllers.split(","):
            version_1.append(path)
    quotas = [_version_2(folder) for folder in _up_to_the_root(cgroups, version_2)]
    for name in ("cpu", "cpu,cpuacct"):
        quotas += [_version_1(folder) for folder in _up_to_the_root(cgroups / name, version_1)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _up_to_the_root(mount: Path, paths: list[str]) -> list[Path]:
    """The folders of these groups and of all groups above them."""
    groups = {group for path in paths for group in (PurePosixPath(path), *PurePosixPath(path).parents)}
    return [mount / str(group).lstrip("/") for group in sorted(groups) if ".." not in group.parts]


def _version_2(folder: Path) -> float | None:
    """cpu.max holds quota and period in microseconds, "200000 100000"; "max 100000" means no limit."""
    return _cores((_read(folder / "cpu.max") or "").split())


def _version_1(folder: Path) -> float | None:
    """Quota and period in two files; -1 means no limit."""
    return _cores([_read(folder / name) or "" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])


def _cores(quota_and_period: list[str]) -> float | None:
    try:
        quota, period = (int(number) for number in quota_and_period)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None
