"""Where the templates, the static files and the bundled examples are."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# Installed, they lie inside the package; in a checkout, at the top, two folders up.
_HOME = _HERE if (_HERE / "templates").is_dir() else _HERE.parents[1]

TEMPLATES = _HOME / "templates"
STATIC = _HOME / "static"
EXAMPLES = _HOME / "examples"
