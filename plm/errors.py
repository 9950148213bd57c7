"""Errors that a person can mend: the command line prints their text as one line, without a traceback."""


class PlmError(Exception):
    """Something the user gave cannot be used; the text says what, where and how to mend it."""


class StaleWeightsError(RuntimeError):
    """An engine was asked to generate with weights that are not the ones last synced."""
