"""Parquet files that appear whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from plm.files import write_bytes_atomic


def write_parquet(path: Path, table: pa.Table) -> None:
    """Writes a table; readers see the old file or the new one."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())
