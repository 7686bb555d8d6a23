"""The commands that talk to a server; they need nothing of it but its address."""
