"""Processes of nodes are told apart from others under the same number, and known from their first moment on."""

from __future__ import annotations

import os
import sys

import pytest

from scripts.cassandra_node import processes
from scripts.cassandra_node.processes import Life, ProcessRecord


def test_a_process_whose_command_line_is_not_there_yet_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux closes the pipe by which the parent learns of the start before it has set the new program's arguments."""
    record = ProcessRecord.of(os.getpid(), "of a node")
    monkeypatch.setattr(processes, "command_line", lambda pid: b"")
    assert record.life() is Life.RUNNING


def test_a_process_is_known_by_its_marker() -> None:
    assert ProcessRecord.of(os.getpid(), sys.orig_argv[-1]).life() is Life.RUNNING
    assert ProcessRecord.of(os.getpid(), "of a node").life() is Life.GONE
