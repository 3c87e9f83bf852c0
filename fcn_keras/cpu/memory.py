"""How much memory this process can still get."""

from __future__ import annotations

from pathlib import Path


def free_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes available without swapping, in the machine or in the container if it has fewer.

    Reads Linux's ``/proc/meminfo`` and the limits of this process's control groups (version 2).
    None where neither exists.
    """
    found = [_of_the_machine(proc / "meminfo"), *_of_the_groups(proc / "self/cgroup", cgroups)]
    return min((value for value in found if value is not None), default=None)


def _of_the_machine(path: Path) -> int | None:
    kilobytes = _numbers(path).get("MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_the_groups(path: Path, root: Path) -> list[int | None]:
    """What the limits of the process's group and of its parents leave."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    group = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = root / group.lstrip("/")
    return [_left(each) for each in (folder, *folder.parents) if each.is_relative_to(root)]


def _left(group: Path) -> int | None:
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such file, or "max" in it: no limit
        return None
    # Cached pages of files count as used, but are dropped when memory is needed.
    return max(0, limit - used + _numbers(group / "memory.stat").get("inactive_file", 0))


def _numbers(path: Path) -> dict[str, int]:
    """The lines ``NAME NUMBER ...`` of one of the kernel's files."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {word[0]: int(word[1]) for word in words if len(word) > 1}
