"""A worker whose runs do nothing but write down which GPUs their process sees."""

from __future__ import annotations

import json
import os
from pathlib import Path

from plm.studies.worker import main


def say_devices(args: list[str]) -> int:
    """Leaves what a finished run leaves, and the devices."""
    folder = Path(args[args.index("--runs") + 1]) / args[1]
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").touch()
    (folder / "devices.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "nothing said"))
    (folder / "manifest.json").write_text(json.dumps({"status": "finished"}))
    return 0


if __name__ == "__main__":
    main(say_devices)
