"""One file a task. Every task is a `TaskDataModule`."""

from plm.datamodules.base import TaskDataModule
from plm.datamodules.code import CodeDataModule, CodeSource, ProceduralCode
from plm.datamodules.composition import CompositionDataModule

__all__ = ["CodeDataModule", "CodeSource", "CompositionDataModule", "ProceduralCode", "TaskDataModule"]
