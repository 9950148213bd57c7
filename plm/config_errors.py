"""Shortens the parser's errors to one line that says what, where and how to mend it."""

from __future__ import annotations

import argparse


def one_line(error: argparse.ArgumentError) -> str:
    """One line for a parser's error."""
    return " ".join(str(error).split())
