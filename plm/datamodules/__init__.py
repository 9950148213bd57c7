"""One file a task. Every task is a `TaskDataModule`."""

from plm.datamodules.base import TaskDataModule
from plm.datamodules.code import CodeDataModule, CodeSource, ProceduralCode
from plm.datamodules.code_files import AppsMbppCode, CodeFiles
from plm.datamodules.composition import CompositionDataModule
from plm.datamodules.critique import CritiqueDataModule, CritiqueFiles, CritiqueSource, ProceduralCritiques
from plm.datamodules.math import MathDataModule
from plm.datamodules.math_files import MathFiles, RenderingColumns
from plm.datamodules.math_source import MathSource, ProceduralMath
from plm.datamodules.mixed import MixedDataModule
from plm.datamodules.mmlu import MMLUDataModule, MMLUSource, ProceduralFacts
from plm.datamodules.mmlu_files import MMLUFiles
from plm.datamodules.style import ProceduralStyle, StyleDataModule, StyleSource
from plm.datamodules.style_files import StyleFiles

__all__ = [
    "AppsMbppCode",
    "CodeDataModule",
    "CodeFiles",
    "CodeSource",
    "CompositionDataModule",
    "CritiqueDataModule",
    "CritiqueFiles",
    "CritiqueSource",
    "MMLUDataModule",
    "MMLUFiles",
    "MMLUSource",
    "MathDataModule",
    "MathFiles",
    "MathSource",
    "MixedDataModule",
    "ProceduralCode",
    "ProceduralCritiques",
    "ProceduralFacts",
    "ProceduralMath",
    "ProceduralStyle",
    "RenderingColumns",
    "StyleDataModule",
    "StyleFiles",
    "StyleSource",
    "TaskDataModule",
]  # fmt: skip
