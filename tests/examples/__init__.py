"""The bundled kinds, each doing its real work on small input."""
