import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jalebi.errors import TargetError
from jalebi.target import load

ONE = "from jalebi import Jalebi\nshop = Jalebi()\nother = 5\n"


@pytest.fixture(autouse=True)
def _forget(tmp_path: Path) -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith("jalebi"):
            del sys.modules[name]
    sys.path[:] = path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("target", ["one.py", "./one.py", "one.py:shop", "one", "one:shop", "pack.two:shop"])
def test_a_target_is_a_module_or_a_file_with_or_without_an_attribute(tmp_path: Path, target: str) -> None:
    write(tmp_path, "one.py", ONE)
    write(tmp_path, "pack/__init__.py", "")
    write(tmp_path, "pack/two.py", ONE)
    assert load(target) is load(target)


def test_a_file_imports_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "deep/neighbour_of_shop.py", "from jalebi import Jalebi\nmade = Jalebi()\n")
    write(tmp_path, "deep/shop_file.py", "from neighbour_of_shop import made\n")
    assert load("deep/shop_file.py") is sys.modules["neighbour_of_shop"].made


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("nothing", "There is no module nothing."),
        ("no.thing", "There is no module no.thing."),
        ("no_file.py", "There is no file no_file.py."),
        ("one:nothing", "one has no attribute nothing."),
        ("one:other", "one:other is not a Jalebi but a int."),
        ("two", "two holds more than one Jalebi; name it as two:attribute."),
        ("none.py", "none.py holds no Jalebi; name it as none.py:attribute."),
        ("broken", "broken can't be imported: ZeroDivisionError: division by zero (broken.py, line 2)."),
        ("needy", "needy can't be imported: ModuleNotFoundError: No module named 'absent' (needy.py, line 1)."),
        ("syntax.py", "syntax.py can't be imported: SyntaxError"),
        ("leaves", "leaves can't be imported: SystemExit: 3"),
    ],
)
def test_a_target_that_can_not_be_loaded_is_one_sentence(tmp_path: Path, target: str, sentence: str) -> None:
    write(tmp_path, "one.py", ONE)
    write(tmp_path, "two.py", ONE + "second = Jalebi()\n")
    write(tmp_path, "none.py", "")
    write(tmp_path, "broken.py", "\n1 / 0\n")
    write(tmp_path, "needy.py", "import absent\n")
    write(tmp_path, "syntax.py", "def (:\n")
    write(tmp_path, "leaves.py", "raise SystemExit(3)\n")
    with pytest.raises(TargetError) as caught:
        load(target)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
