"""Jalebi: hand in a slow job over HTTP, get a token at once, watch it being made, fetch the result."""

from jalebi.app import Jalebi
from jalebi.context import JobContext, Upload, track
from jalebi.errors import JobFailed

__version__ = "0.1.0"

__all__ = ["Jalebi", "JobContext", "JobFailed", "Upload", "__version__", "track"]
