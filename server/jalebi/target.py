"""Finds the `Jalebi` that a command's TARGET names: `package.module`, `package.module:attribute` or a file's path."""

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from jalebi.errors import TargetError
from jalebi.kinds import Shop


def load(target: str) -> Shop:
    """Import the target and return its `Jalebi`. Raises TargetError with one sentence."""
    name, attribute = _split(target)
    module = _from_file(name) if _is_file(name) else _from_name(name)
    if attribute:
        return _attribute(module, name, attribute)
    shops = shops_in(module)
    if len(shops) != 1:
        found = "no Jalebi" if not shops else "more than one Jalebi"
        raise TargetError(f"{name} holds {found}; name it as {name}:attribute.")
    return shops[0]


def shops_in(module: ModuleType) -> list[Shop]:
    """Return the different `Jalebi` objects at the top level of a module."""
    found = {id(value): value for value in vars(module).values() if isinstance(value, Shop)}
    return list(found.values())


def _split(target: str) -> tuple[str, str]:
    # A Windows path has a colon of its own, right after the drive.
    name, separator, attribute = target.rpartition(":")
    return (name, attribute) if separator and attribute.isidentifier() and len(name) > 1 else (target, "")


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name or os.sep in name


def _from_file(name: str) -> ModuleType:
    path = Path(name).resolve()
    if not path.is_file():
        raise TargetError(f"There is no file {name}.")
    # As `python file.py` does it, so that the file can import its neighbours.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    module_name = path.stem if known is None else f"jalebi_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{name} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise TargetError(_why(name, error)) from error
    return module


def _from_name(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(f"There is no module {name}.") from error
        raise TargetError(_why(name, error)) from error
    except (Exception, SystemExit) as error:
        raise TargetError(_why(name, error)) from error


def _attribute(module: ModuleType, name: str, attribute: str) -> Shop:
    found = getattr(module, attribute, None)
    if found is None:
        raise TargetError(f"{name} has no attribute {attribute}.")
    if not isinstance(found, Shop):
        raise TargetError(f"{name}:{attribute} is not a Jalebi but a {type(found).__name__}.")
    return found


def _why(name: str, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    return f"{name} can't be imported: {type(error).__name__}: {said}{place}."
