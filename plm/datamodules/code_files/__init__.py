"""The code task from files: problems that are ready (`CodeFiles`), and APPS and MBPP as they are published."""

from plm.datamodules.code_files.apps import read_apps
from plm.datamodules.code_files.mbpp import read_mbpp
from plm.datamodules.code_files.published import AppsMbppCode
from plm.datamodules.code_files.ready import CodeFiles
from plm.datamodules.code_files.record import Kind, PublishedProblem

__all__ = ["AppsMbppCode", "CodeFiles", "Kind", "PublishedProblem", "read_apps", "read_mbpp"]
