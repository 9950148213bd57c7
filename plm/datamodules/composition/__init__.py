"""The function-composition task, made by plm itself: functions, chains in stages, and the data module."""

from plm.datamodules.composition.chains import draw_stages
from plm.datamodules.composition.functions import Functions, draw_functions
from plm.datamodules.composition.task import CompositionDataModule

__all__ = ["CompositionDataModule", "Functions", "draw_functions", "draw_stages"]
