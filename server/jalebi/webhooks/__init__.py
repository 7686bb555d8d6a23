"""Webhooks: signed messages about what has ended, delivered over about a day, and never to where they must not go."""
