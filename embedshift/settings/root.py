"""A whole settings file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import Field, model_validator

from embedshift.settings.database import StoreSettings
from embedshift.settings.operations import HookSettings, LogSettings, MetricsSettings, ThrottleSettings
from embedshift.settings.steps import (
    AuditSettings,
    CutoverSettings,
    LoadSettings,
    RetireSettings,
    SyncSettings,
    ValidationSettings,
)
from embedshift.settings.tables import ModelSettings, SourceSettings, TargetSettings
from embedshift.settings.values import AliasName, Duration, Frozen


class ArticlesSettings(Frozen):
    """Settings of the client that applications use."""

    cache: Duration | None = Field(
        None, description="how long a client keeps the alias, at most cutover.client_cache; if null, that long"
    )
    max_text: int = Field(1_000_000, ge=1, description="maximum bytes of an article's text; a longer text is refused")
    batch: int = Field(256, ge=1, le=10_000, description="articles that add_many embeds and writes at once")
    shadow: float = Field(
        0,
        ge=0,
        le=1,
        description="share of the searches that is also sent to the new table of a running migration, to compare",
    )


class SparkSettings(Frozen):
    """The Spark session, if spark-submit does not provide one."""

    master: str = Field("local[*]", description="local[*] on one machine; spark-submit --master overrides it")
    conf: dict[str, str | int | float | bool] = Field({}, description="further Spark properties; never a secret")


class Settings(Frozen):
    """A whole settings file."""

    alias: AliasName = Field(description="the name that applications search by")
    store: StoreSettings
    source: SourceSettings
    target: TargetSettings
    load: LoadSettings = LoadSettings()
    sync: SyncSettings = SyncSettings()
    validation: ValidationSettings = ValidationSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    cutover: CutoverSettings = CutoverSettings()
    retire: RetireSettings = RetireSettings()
    hooks: HookSettings = HookSettings()
    audit: AuditSettings = AuditSettings()
    articles: ArticlesSettings = ArticlesSettings()
    spark: SparkSettings = SparkSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _fitting(self) -> Settings:
        if self.source.table.lower() == self.target.table.lower():
            raise ValueError("source.table and target.table are the same; a migration fills a table of its own")
        if self.articles.cache is not None and self.articles.cache > self.cutover.client_cache:
            raise ValueError(
                "articles.cache is longer than cutover.client_cache: a cutover would not wait for such clients"
            )
        return self

    @property
    def articles_cache(self) -> timedelta:
        """How long a client keeps the alias."""
        return self.cutover.client_cache if self.articles.cache is None else self.articles.cache

    @property
    def target_model(self) -> ModelSettings:
        """The model of the target: the source's own model if only the index changes."""
        return self.target.model or self.source.model

    def result_keys(self) -> dict[str, str]:
        """Every setting that decides what the target will contain, as ``key.path`` to text.

        A migration may be resumed with other timeouts or another Spark master, but not if one of these settings has
        changed.
        """
        # Neither the device nor the permission to run code changes a vector.
        model = set(ModelSettings.model_fields) - {"device", "trust_remote_code", "service"}
        chosen = self.model_dump(
            mode="json",
            include={
                "alias": True,
                "source": {"table": True, "id": True, "text": True, "vector": True, "model": model},
                "target": {"table": True, "model": model, "index": True},
                "load": {"precision"},
            },
        )
        keys = {key: json.dumps(value) for key, value in _flatten(chosen)}
        for side, named in (("source", self.source.model), ("target", self.target.model)):
            if named is not None and named.service is not None:
                # Under another name, or at another address, it is the same model if it gives the same answers.
                del keys[f"{side}.model.name"]
                keys[f"{side}.model.service"] = json.dumps(named.service.identity, sort_keys=True)
        return keys

    def digest(self) -> str:
        """A short hash of ``result_keys``."""
        text = json.dumps(self.result_keys(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _flatten(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{path}{key}"
        leaves += _flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return leaves
