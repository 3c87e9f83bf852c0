"""The order of the rooms: every import goes down, wherever in a module it stands."""

import ast
from pathlib import Path

import fcn_keras

PACKAGE = Path(fcn_keras.__file__).parent
# From the lowest room up; those of one line may not import each other.
ORDER = (
    ("errors", "imagenet", "imports", "version"),
    ("storage",),
    ("cpu",),
    ("models", "data"),
    ("drawing",),
    ("weights",),
    ("saving",),
    ("pretrained",),
    ("inference",),
    ("evaluation", "export"),
    ("training",),
    ("recipes", "viz"),
    ("commands",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def modules():
    """Dotted names under the package, with their files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


NAMES = dict(modules())


def imported(path):
    """The package's modules that a file names in its imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in found:
            package, _, module = name.partition(".")
            if package == "fcn_keras":
                # The longest part of the dotted name that is a module: the rest is its attribute.
                while module and module not in NAMES:
                    module = module.rpartition(".")[0]
                yield module


def test_every_room_has_its_place():
    rooms = {name.partition(".")[0] for name in NAMES if name}
    assert rooms == LEVEL.keys()


def test_no_import_goes_up():
    wrong = []
    for name, path in NAMES.items():
        room = name.partition(".")[0]
        if not room:
            continue
        for other in imported(path):
            theirs = other.partition(".")[0]
            # A command may ask for the names at the package's root, which stand above all rooms.
            up = room != "commands" if not theirs else LEVEL[theirs] >= LEVEL[room]
            if up and theirs != room:
                wrong.append(f"{name} imports {other or 'the root'}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    edges = {
        # A package's own __init__ gathers its modules; it depends on them, not they on it.
        name: {other for other in imported(path) if other != name}
        for name, path in NAMES.items()
    }
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
        if name not in done:
            open_.append(name)
            for other in sorted(edges[name]):
                visit(other)
            open_.pop()
            done.add(name)

    for name in edges:
        if name:
            visit(name)
