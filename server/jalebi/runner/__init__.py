"""Claims jobs, runs their attempts in the loop, in threads or in child processes, and settles them.

Nothing is imported here: child processes import `jalebi.runner.child`, and start faster the less comes with it.
"""
