"""Where jobs are kept: tables and migrations, what can be written (verbs) and what can be asked (reads)."""

from jalebi.store.sqlite import Store

__all__ = ["Store"]
