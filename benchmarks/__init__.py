"""Measures Jalebi on this machine, side by side with the plainest code that could stand in for each part."""
