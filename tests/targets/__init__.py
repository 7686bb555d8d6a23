"""Modules that tests name as TARGET."""
