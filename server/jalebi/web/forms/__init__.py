"""Forms made from the JSON Schema of a kind's parameters, and filled-in forms back into args."""

from jalebi.web.forms.building import MOST_ROWS, MOST_TYPED
from jalebi.web.forms.composed import Group, Places, Row, Rows, Variants
from jalebi.web.forms.nodes import Leaf, Node
from jalebi.web.forms.options import OPTIONS, option, option_labels, options
from jalebi.web.forms.schema import schema_of, takes_files
from jalebi.web.forms.values import ABSENT, Unreadable, label
from jalebi.web.forms.whole import DO, JSON, MODE, Form, shown, taken

__all__ = [
    "ABSENT", "DO", "JSON", "MODE", "MOST_ROWS", "MOST_TYPED", "OPTIONS", "Form", "Group", "Leaf", "Node", "Places",
    "Row", "Rows", "Unreadable", "Variants", "label", "option", "option_labels", "options", "schema_of", "shown",
    "taken", "takes_files",
]  # fmt: skip
