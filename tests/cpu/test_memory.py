import pytest

from fcn_keras.cpu.memory import free_bytes


@pytest.fixture
def kernel(tmp_path):
    """Writes files of the kernel's below /proc and /sys/fs/cgroup, and asks for what is free."""

    def free(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return free_bytes(tmp_path / "proc", tmp_path / "group")

    return free


MACHINE = {"proc__meminfo": "MemTotal: 900 kB\nMemFree: 100 kB\nMemAvailable:   500 kB\n"}


def test_the_machine_alone(kernel):
    assert kernel() is None
    assert kernel(**MACHINE) == 500 * 1024
    assert kernel(proc__self__cgroup="0::/a\n", group__a__memory_dot_max="max\n") == 500 * 1024


def test_the_tightest_of_the_groups_above(kernel):
    limited = {
        "proc__self__cgroup": "0::/a/b\n",
        "group__a__b__memory_dot_max": "300000\n",
        "group__a__b__memory_dot_current": "100000\n",
        "group__a__b__memory_dot_stat": "anon 90000\ninactive_file 5000\n",
    }
    assert kernel(**MACHINE, **limited) == 205_000
    above = {"group__a__memory_dot_max": "9000\n", "group__a__memory_dot_current": "9500\n"}
    assert kernel(**above) == 0


def test_this_machine_has_some():
    assert free_bytes() > 1e6
