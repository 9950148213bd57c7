"""Password-locked models: hide a capability behind a password, then measure which elicitation methods find it."""

__version__ = "0.1.0.dev0"
