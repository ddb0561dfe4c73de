"""What every test shares: quiet libraries, a profile for Hypothesis, the corpora, and one Spark session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Machines of CI are slow and shared: how long an example takes says nothing.
settings.register_profile("embedshift", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("embedshift")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The folder of the Cranfield collection, which lies beside the checkout of this project's own machines."""
    folder = ROOT.parent / "shared" / "data" / "cranfield"
    if not folder.is_dir():
        pytest.skip("the Cranfield collection is not beside this checkout")
    return folder
