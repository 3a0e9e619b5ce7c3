"""Milepost: user properties and the guided checklist, self-hosted and multi-tenant."""

__version__ = "0.1.0"
