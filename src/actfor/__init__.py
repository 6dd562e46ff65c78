"""actfor: let agents act for people, and prove it."""

__version__ = "0.1.0"
