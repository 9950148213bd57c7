"""`plm report`: one self-contained page about runs or a study, with the papers' figures, numbers and provenance.

From disk to page: `collect` reads runs, `arms` groups them over seeds and measures, `view` sorts arms by lock, the
figure modules say what is shown, `drawing` draws it, `tables` and `samples` list it, `page` lays it out, `writing`
writes it.
"""

from plm.studies.report.writing import run_report, write_report

__all__ = ["run_report", "write_report"]
