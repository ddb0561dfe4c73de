"""A model that is migrated onto itself passes, whichever articles are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embedshift.validation.questions import Question
from tests.validation.migrated import failed, invented, migrate, validated, world_in

SEEDS = 50
#: So few that the index is built by one thread, and is the same one in every run.
ROWS = 250
#: What is asked for where labelled questions are absent.
STRICT = {"overlap_at_10": 0.98, "self_retrieval": 0.9, "titles_drop": 0.01}


def test_a_model_migrated_onto_itself_passes_with_every_seed(old_model: Path, tmp_path: Path) -> None:
    rows = invented(ROWS)
    questions = [Question(row["id"], row["content"][0], {row["id"]: 1}) for row in rows[:40]]
    with world_in(tmp_path, (old_model, None), probes=30, reembed_sample=30, relevance_drop=0, **STRICT) as world:
        migrate(world, rows)
        for seed in range(SEEDS):
            world.with_settings(validation={"seed": seed})
            report = validated(world, questions if seed % 2 else None)
            assert failed(report) == set(), seed
            assert report["settings"]["validation"]["seed"] == seed
            if seed % 2:
                change = report["relevance"]["difference"]["ndcg@10"]
                assert (change["low"], change["high"]) == (0, 0)
            else:
                assert report["unlabelled"]["overlap@10"]["mean"] > 0.99
            points = {side: np.array([each[:2] for each in report["projection"][side]]) for side in ("old", "new")}
            assert np.allclose(points["old"], points["new"], atol=1e-4)
