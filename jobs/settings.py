"""Settings: a YAML file, overrides and the environment become frozen models.

An unknown key is an error that names the nearest known one, and all faults of a file are reported at once. Secrets are
no settings: user and password come from the environment or from a file of their own (``store.credentials_file``).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Secret,
    ValidationError,
    model_validator,
)

from jobs.errors import SettingsError
from jobs.hours import parse_hours

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """``"90s"``, ``"1h"``, ``"30d"``, ``"500ms"`` or seconds as a number, as a timedelta."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=float(value))
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", str(value))
    if not match:
        raise ValueError(f"{value!r} is not a duration; write a number with ms, s, m, h or d, such as 90s or 24h")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """The shortest exact text of a duration: ``90s``, ``1h``, ``24h``, ``500ms``."""
    for unit in ("d", "h", "m", "s", "ms"):
        whole = timedelta(seconds=_UNITS[unit])
        if value and not value % whole:
            return f"{value // whole}{unit}"
    return f"{value / timedelta(milliseconds=1):.3f}ms" if value else "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str | float),
    PlainSerializer(format_duration, return_type=str),
]
TableName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_]{0,47}$")]
AliasName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_.-]{0,99}$")]


class Frozen(BaseModel):
    """A part of the settings: immutable, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class TlsSettings(Frozen):
    """Encryption between embedshift and the cluster."""

    ca: Path = Field(description="PEM file of the authority that signed the servers' certificates")
    certificate: Path | None = Field(
        None, description="PEM file of this client's certificate, where servers ask for one"
    )
    key: Path | None = Field(None, description="PEM file of this client's private key")
    check_hostname: bool = Field(True, description="refuse a server whose certificate names another host")


class ConsistencySettings(Frozen):
    """How many replicas must answer."""

    read: str = Field("LOCAL_QUORUM", description="scans and searches; below a quorum a scan may miss rows")
    write: str = Field("LOCAL_QUORUM", description="rows and vectors; never weakened by a retry")
    serial: str = Field("LOCAL_SERIAL", description="the catalog's compare-and-set; SERIAL across datacenters")


class CatalogSettings(Frozen):
    """Where the catalog lives on a cluster."""

    keyspace: str | None = Field(None, description="a keyspace of its own; the table's keyspace where null")
    replication: dict[str, str | int] | None = Field(
        None, description="replication of that keyspace where schema apply creates it; as the table's where null"
    )


class StoreSettings(Frozen):
    """The database of the articles."""

    kind: Literal["embedded", "cql"] = Field(
        "embedded", description="embedded: SQLite and USearch; cql: ScyllaDB, Cassandra"
    )
    path: Path | None = Field(None, description="embedded: the SQLite file; indexes lie beside it")
    hosts: tuple[str, ...] = Field((), description="cql: contact points")
    port: int = Field(9042, ge=1, le=65535, description="cql: the port of the native protocol")
    local_dc: str | None = Field(None, description="cql: the datacenter to talk to; required")
    keyspace: str | None = Field(
        None, pattern=r"^[a-zA-Z][a-zA-Z0-9_]{0,47}$", description="cql: the keyspace of the tables"
    )
    replication: dict[str, str | int] | None = Field(
        None, description="cql: replication of the keyspace where schema apply creates it"
    )
    tls: TlsSettings | None = Field(None, description="cql: encryption; off where null")
    credentials_file: Path | None = Field(
        None, description="cql: a file with two lines, user and password; else SCYLLA_USERNAME and SCYLLA_PASSWORD"
    )
    consistency: ConsistencySettings = ConsistencySettings()
    request_timeout: Duration = Field(timedelta(seconds=12), description="one request; scans retry with smaller pages")
    connect_timeout: Duration = Field(timedelta(seconds=10), description="opening one connection")
    concurrency: int = Field(64, ge=1, le=1024, description="most writes in flight, for each task; fewer when slow")
    vector_status: tuple[str, ...] = Field(
        (), description="ScyllaDB: addresses of the vector store, http://host:port, to ask whether an index serves"
    )
    catalog: CatalogSettings = CatalogSettings()

    @model_validator(mode="after")
    def _complete(self) -> StoreSettings:
        if self.kind == "embedded" and self.path is None:
            raise ValueError("an embedded store needs path: the SQLite file, such as .embedshift/articles.sqlite")
        if self.kind == "cql":
            missing = [key for key in ("hosts", "local_dc", "keyspace") if not getattr(self, key)]
            if missing:
                raise ValueError(f"a cql store needs {', '.join(missing)}")
        return self


class ModelSettings(Frozen):
    """An embedding model, as sentence-transformers loads it."""

    name: str = Field(
        min_length=1,
        description="a name on the hub, a folder, or package:NAME for a model that an installed package carries",
    )
    revision: str | None = Field(
        None, description="commit or tag on the hub; name one, or the model may change under you"
    )
    query_prompt: str = Field("", description="put before every question")
    document_prompt: str = Field("", description="put before every document")
    max_length: int | None = Field(None, ge=8, description="most tokens of a text; the model's own limit where null")
    normalize: bool = Field(True, description="scale every vector to length 1")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto takes a GPU where there is one"
    )


class SourceSettings(Frozen):
    """The live table."""

    table: TableName = Field(description="the table that the alias names before the migration")
    id: str = Field("id", description="the column by which articles and questions are named")
    text: str = Field("{title}. {content}", description="what is embedded: a template over columns")
    vector: str = Field("embedding", description="the column of the vectors")
    model: ModelSettings = Field(description="the model that made the vectors now in the table")


class IndexSettings(Frozen):
    """The vector index; docs/index-options.md maps these words to each store's."""

    metric: Literal["cosine", "euclidean", "dot_product"] = Field(
        "cosine", description="dot_product wants unit vectors"
    )
    connections: int | None = Field(16, ge=2, le=512, description="edges a node; more: better recall, more memory")
    expansion_add: int | None = Field(128, ge=1, le=4096, description="width of the search while building")
    expansion_search: int | None = Field(64, ge=1, le=4096, description="width of the search while answering")
    quantization: Literal["f32", "f16", "bf16", "i8", "b1"] | None = Field(
        None, description="of the index's own copy of the vectors, never of the table's; the store's default where null"
    )
    oversampling: float | None = Field(
        None, ge=1, le=100, description="ScyllaDB: candidates for each result, then ranked"
    )
    rescoring: bool | None = Field(None, description="ScyllaDB: rank the candidates by the table's exact vectors")


class TargetSettings(Frozen):
    """The versioned table that the migration fills."""

    table: TableName = Field(description="a table of its own; the name counts up: articles_v2")
    model: ModelSettings | None = Field(
        None, description="the new model; the source's where null: vectors are copied, only the index changes"
    )
    index: IndexSettings = IndexSettings()
    index_wait: Duration = Field(timedelta(hours=6), description="how long the step index waits for the index to serve")


class LoadSettings(Frozen):
    """Scanning, embedding and writing."""

    ranges: int | Literal["auto"] = Field("auto", description="token ranges; auto goes by the table's estimated size")
    batch_tokens: int | Literal["auto"] = Field("auto", description="tokens in one batch through the model")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto takes the fastest that agrees with float32 on a sample"
    )
    tolerate_dead: int | float = Field(
        0, ge=0, description="dead letters that a run may leave: a number, or below 1 a share of the rows"
    )
    attempts: int = Field(4, ge=1, le=20, description="tries of a failed range; each try halves it")
    task_rows: int | Literal["auto"] = Field(
        "auto",
        description="rows after which a task leaves the rest of its range to others, at the end of a partition; auto: "
        "half as many again as ranges hold on average, at least 1,000",
    )
    window_rows: int = Field(1024, ge=16, le=65536, description="rows held in memory at once, for each task")


class SyncSettings(Frozen):
    """Catching up with the application."""

    passes: int = Field(10, ge=1, description="most passes before sync gives up on a table that never rests")
    until: int = Field(0, ge=0, description="the difference at which a pass counts as clean")
    inspect: bool = Field(
        False, description="read the target's vectors too, and make broken ones anew; costs reading every vector"
    )
    clock_skew: Duration = Field(timedelta(seconds=10), description="how far the clocks of writers may be apart")
    change_log: Literal["auto", "off"] = Field(
        "auto",
        description="auto: where the source has one (ScyllaDB's CDC), passes after a whole one read it instead of the "
        "table; off where writers state times of their own",
    )
    change_log_kept: Duration = Field(
        timedelta(hours=24), description="how long the source's change log keeps a change: its ttl"
    )
    shadowed: Literal["report", "overwrite"] = Field(
        "report",
        description="a repair below a newer deletion changes nothing: say so, or write it with the present time",
    )


class ValidationSettings(Frozen):
    """The proof before the switch."""

    questions: Path | None = Field(None, description="JSONL of labelled questions: id, text, relevant {id: grade}")
    confidence: float = Field(
        0.95, ge=0, lt=1, description="of every interval; recall and relevance must hold at its lower end"
    )
    recall_at_10: float = Field(0.95, ge=0, le=1, description="least recall@10 of the index against exact search")
    relevance_drop: float = Field(
        0.05, ge=0, le=1, description="most that nDCG@10 may fall from old to new, at the lower end of its interval"
    )
    overlap_at_10: float | None = Field(
        None, ge=0, le=1, description="without questions: least share of ten answers that old and new have in common"
    )
    self_retrieval: float | None = Field(
        None, ge=0, le=1, description="without questions: least share of articles that their own text finds first"
    )
    titles_drop: float | None = Field(
        None, ge=0, le=1, description="without questions: most that nDCG@10 of titles may fall from old to new"
    )
    latency_ratio: float | None = Field(
        None, gt=0, description="most that the new table's p95 of a search may be of the old one's; reported where null"
    )
    latency_searches: int = Field(
        100, ge=0, le=100_000, description="searches timed of each table, by one client and by eight; 0: none"
    )
    latency_time: Duration = Field(
        timedelta(seconds=10), description="no further search is timed after so long, by one client or by eight"
    )
    truncated: float = Field(
        1.0, ge=0, le=1, description="largest share of texts that may be longer than the model reads"
    )
    sample: int = Field(
        1000, ge=1, le=10_000, description="articles drawn to count their tokens; probes are chosen among them"
    )
    probes: int = Field(200, ge=1, le=10_000, description="articles whose vectors are searched for, to measure recall")
    embedded_again: int = Field(
        500, ge=0, le=10_000, description="articles embedded once more, to compare their vectors"
    )
    seed: int = Field(20_150_601, ge=0, description="of every sample: the same seed draws the same articles")
    max_age: Duration = Field(timedelta(hours=1), description="how long a validation holds")
    report: Path | None = Field(None, description="where the JSON record goes; validation-MIGRATION.json where null")


class CutoverSettings(Frozen):
    """The switch."""

    client_cache: Duration = Field(
        timedelta(seconds=5), description="how long clients keep the alias; waited for after it"
    )
    drift: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of the rows that may have changed since the validation, if every row compares well again",
    )
    keep_ready: Duration = Field(
        timedelta(minutes=1), description="shortest rest between two syncs while a cutover waits for its time or word"
    )
    hold: Duration = Field(timedelta(hours=24), description="how long cutover --hold waits for the word")
    lease: Duration = Field(
        timedelta(seconds=30), description="a run that is silent for so long no longer owns a migration"
    )


class Hook(Secret[str | tuple[str, ...]]):
    """A command as a list, an address, or ``env:NAME``; printed without arguments and paths, which may hold a token."""

    def _display(self) -> str:
        value = self.get_secret_value()
        if isinstance(value, str):
            return value if value.startswith("env:") else without_paths(value)
        return without_paths(value[0]) + (" …" if len(value) > 1 else "")


def without_paths(text: str) -> str:
    """A text whose web addresses are cut after the host, without user and password."""
    return re.sub(r"(https?://)(?:[^/\s@]*@)?([^/\s?#]*)[^\s]*", r"\1\2/…", text)


def _check_hook(hook: Hook) -> Hook:
    value = hook.get_secret_value()
    if isinstance(value, tuple) and not (value and value[0]):
        raise ValueError("the command is empty; write its program and arguments as a list")
    if isinstance(value, str) and not re.match(r"https?://[^/\s?#]|env:[A-Za-z_]\w*$", value):
        raise ValueError(
            "neither an address, https://…, nor the name of a variable that holds one, env:NAME; a command is a list"
        )
    return hook


CheckedHook = Annotated[Hook, AfterValidator(_check_hook)]


class HookSettings(Frozen):
    """Who is told of a migration, or asked: a command, or an HTTP address."""

    on_state_change: CheckedHook | None = Field(None, description="told of each new state of a migration")
    on_failure: CheckedHook | None = Field(None, description="told of a step that failed, with its error line")
    before_cutover: CheckedHook | None = Field(
        None, description="asked before the alias moves: where it fails, the cutover stops and nothing has moved"
    )
    after_cutover: CheckedHook | None = Field(None, description="told of a cutover that is complete")
    timeout: Duration = Field(timedelta(seconds=30), description="a hook that takes longer is ended, and has failed")


class ThrottleSettings(Frozen):
    """How fast load and sync may go; embedshift throttle says otherwise while they run."""

    rows_per_second: float | None = Field(
        None, gt=0, description="most rows a second of the whole run, whatever the number of workers"
    )
    max_latency: Duration | None = Field(
        None, description="writers slow down while the p99 of the store's own write latency is above it"
    )
    between: Annotated[str, AfterValidator(lambda text: str(parse_hours(text)))] | None = Field(
        None, description="hours in which rows are carried, such as 22:00-06:00; a time zone may follow"
    )

    @model_validator(mode="after")
    def _possible(self) -> ThrottleSettings:
        if self.max_latency is not None and self.max_latency <= timedelta(0):
            raise ValueError("max_latency must be more than 0; null sets no limit")
        return self


class AuditSettings(Frozen):
    """The daily look at the live table."""

    tolerate: float = Field(0, ge=0, lt=1, description="share of the rows that may be without a good vector")


class RetireSettings(Frozen):
    """The end of the old table."""

    after: Duration = Field(timedelta(hours=24), description="grace time after the cutover: so long rollback is open")
    watch: Duration = Field(
        timedelta(seconds=10),
        description="how long retire counts reads of the old table, where the servers count them; 0: not at all",
    )
    keep: int | None = Field(
        None,
        ge=0,
        description="upgrade: old tables that stay beside the live one; older ones are retired after their grace time; "
        "all stay where null",
    )


class ArticlesSettings(Frozen):
    """What an application's client does."""

    cache: Duration | None = Field(
        None, description="how long a client keeps the alias, at most cutover.client_cache; as long as that where null"
    )
    max_text: int = Field(1_000_000, ge=1, description="most bytes of an article's text; a longer one is refused")
    batch: int = Field(256, ge=1, le=10_000, description="articles that add_many embeds and writes at once")
    shadow: float = Field(
        0,
        ge=0,
        le=1,
        description="share of the searches that is also sent to the new table of a running migration, to compare them",
    )


class SparkSettings(Frozen):
    """The Spark session, where spark-submit does not bring one."""

    master: str = Field("local[*]", description="local[*] on one machine; spark-submit --master overrides it")
    conf: dict[str, str | int | float | bool] = Field({}, description="further Spark properties; never a secret")


class MetricsSettings(Frozen):
    """What Prometheus may read of a running step; docs/reference/metrics.md names every metric."""

    port: int | None = Field(
        None, ge=1, le=65535, description="a port for Prometheus while a step runs; not opened where null"
    )
    host: str = Field("127.0.0.1", description="the address of that port; 0.0.0.0 opens it to the network")
    textfile: Path | None = Field(
        None, description="an OpenMetrics file, written now and then and at the end of a step; none where null"
    )


class LogSettings(Frozen):
    """The log on standard error, beside the lines for people."""

    format: Literal["console", "json"] = Field(
        "console", description="json: one object a line, with the run's id, of driver and workers"
    )
    level: Literal["debug", "info", "warning", "error"] | None = Field(
        None, description="least level that is logged; warning for console and info for json where null"
    )


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
        """The model of the target: the source's own where only the index changes."""
        return self.target.model or self.source.model

    def result_keys(self) -> dict[str, str]:
        """Every setting that decides what the target will hold, as ``key.path`` to text.

        A migration may be taken up again under other timeouts or another Spark master, never under another of these.
        """
        model = {"name", "revision", "query_prompt", "document_prompt", "max_length", "normalize"}
        chosen = self.model_dump(
            mode="json",
            include={
                "alias": True,
                "source": {"table": True, "id": True, "text": True, "vector": True, "model": model},
                "target": {"table": True, "model": model, "index": True},
                "load": {"precision"},
            },
        )
        return {key: json.dumps(value) for key, value in _flatten(chosen)}

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


def load_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a settings file; relative paths in it are relative to the present directory, as in a shell.

    Args:
        path: a YAML file.
        overrides: ``key.path=value`` each, the value read as YAML, or as plain text where it is none.

    Raises:
        SettingsError: the file cannot be read, or is wrong: every fault is named.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read the settings file {path} ({error.strerror})", hint="name one with --config"
        ) from error
    except yaml.MarkedYAMLError as error:
        # Its whole text would quote the line, which may hold an address with a token.
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path} is not YAML: line {line}, {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"{path} holds no settings", hint="start from one of the files in configs/")
    for override in overrides:
        _apply(tree, override)
    return parse_settings(tree, where=str(path))


def parse_settings(tree: Mapping[str, Any], *, where: str = "the settings") -> Settings:
    """Settings of a tree of plain values. Raises SettingsError with every fault named."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(_explain(fault) for fault in error.errors())
        raise SettingsError(f"{where}: {faults}") from None


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise SettingsError(f"--set {override} is not of the form key.path=value")
    *parents, leaf = path.strip().split(".")
    for parent in parents:
        below = tree.get(parent)
        if below is None:
            below = tree[parent] = {}
        if not isinstance(below, dict):
            raise SettingsError(f"--set {override}: {parent} holds a value, no further keys")
        tree = below
    try:
        tree[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        tree[leaf] = text  # such as {title}. {content}, which would need quotes in a file


def _explain(fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    name = ".".join(path) or "the file"
    if fault["type"] == "extra_forbidden":
        known = known_keys(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"unknown key {name}; {advice}"
    if fault["type"] == "missing":
        return f"{name} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}"


def known_keys(path: Sequence[str]) -> list[str]:
    """The keys that the settings have at a path, such as ``("target", "index")``; none where there is no such part."""
    schema = Settings.model_json_schema()
    node: dict[str, Any] = schema
    for part in path:
        node = _resolve(schema, node.get("properties", {}).get(part, {}))
    return list(node.get("properties", {}))


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].rsplit("/", 1)[-1]]
            return found
    return node


def credentials(store: StoreSettings) -> tuple[str, str] | None:
    """User and password from the credentials file or the environment, or None where neither names them."""
    if store.credentials_file is None:
        user, password = os.environ.get("SCYLLA_USERNAME"), os.environ.get("SCYLLA_PASSWORD")
        return (user, password) if user and password is not None else None
    try:
        lines = store.credentials_file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(
            f"cannot read store.credentials_file {store.credentials_file} ({error.strerror})"
        ) from error
    if len(lines) < 2:
        raise SettingsError(f"{store.credentials_file} needs two lines, user and password")
    return lines[0].strip(), lines[1].strip()
