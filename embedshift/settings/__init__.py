"""Settings: a YAML file, overrides and the environment become frozen models.

An unknown key is an error that names the nearest known one, and all faults of a file are reported at once. Secrets are
not settings: user and password come from the environment or from a file of their own (``store.credentials_file``).
"""

from embedshift.settings.database import Replication, StoreSettings, TlsSettings, credentials
from embedshift.settings.loading import known_keys, load_settings, parse_model, parse_settings
from embedshift.settings.operations import Hook, LogSettings, MetricsSettings, ThrottleSettings, without_paths
from embedshift.settings.root import Settings
from embedshift.settings.service import ServiceSettings
from embedshift.settings.steps import ValidationSettings
from embedshift.settings.tables import IndexSettings, ModelSettings

__all__ = [
    "Hook",
    "IndexSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "Replication",
    "ServiceSettings",
    "Settings",
    "StoreSettings",
    "ThrottleSettings",
    "TlsSettings",
    "ValidationSettings",
    "credentials",
    "known_keys",
    "load_settings",
    "parse_model",
    "parse_settings",
    "without_paths",
]
