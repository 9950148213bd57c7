"""Optimizers that bfloat16 needs, and learning-rate schedules."""

from plm.optim.lion import Lion
from plm.optim.schedule import Decay, schedule_factor, set_lr

__all__ = ["Decay", "Lion", "schedule_factor", "set_lr"]
