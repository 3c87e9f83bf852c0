"""How much memory this process can still have."""

from __future__ import annotations

from pathlib import Path


def free_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can be taken without swapping: the machine's, or the container's if it has less.

    Reads Linux's ``/proc/meminfo`` and the limits of this process's control groups (version 2).
    None where neither is there.
    """
    found = [_of_the_machine(proc / "meminfo"), *_of_the_groups(proc / "self/cgroup", cgroups)]
    return min((value for value in found if value is not None), default=None)


def _of_the_machine(path: Path) -> int | None:
    kilobytes = _numbers(path).get("MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_the_groups(path: Path, root: Path) -> list[int | None]:
    """What the limits of the process's group, and of those above it, leave."""
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
    # Pages of files that were read count as used, and go when the memory is wanted.
    return max(0, limit - used + _numbers(group / "memory.stat").get("inactive_file", 0))


def _numbers(path: Path) -> dict[str, int]:
    """The lines ``NAME NUMBER ...`` of a file of the kernel's."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {word[0]: int(word[1]) for word in words if len(word) > 1}
