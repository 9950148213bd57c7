"""What happens around training: evaluation, probe, run folder, progress. None moves a number, except relocking."""

from plm.callbacks.checkpoint import CheckpointCallback
from plm.callbacks.evaluation import EvaluationCallback
from plm.callbacks.moved_weights import MovedWeightsCallback
from plm.callbacks.policy_baseline import PolicyBaselineCallback
from plm.callbacks.progress import ProgressCallback
from plm.callbacks.relocking import RelockingCallback
from plm.callbacks.run_folder import RunFolderCallback
from plm.callbacks.spike_guard import SpikeGuardCallback
from plm.callbacks.weak_unlock import WeakUnlockCallback

__all__ = [
    "CheckpointCallback",
    "EvaluationCallback",
    "MovedWeightsCallback",
    "PolicyBaselineCallback",
    "ProgressCallback",
    "RelockingCallback",
    "RunFolderCallback",
    "SpikeGuardCallback",
    "WeakUnlockCallback",
]
