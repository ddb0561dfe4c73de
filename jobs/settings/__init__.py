"""Settings: a YAML file, overrides and the environment become frozen models.

An unknown key is an error that names the nearest known one, and all faults of a file are reported at once. Secrets are
no settings: user and password come from the environment or from a file of their own (``store.credentials_file``).
"""

from jobs.settings.control import Hook, LogSettings, MetricsSettings, ThrottleSettings, without_paths
from jobs.settings.database import StoreSettings, TlsSettings, credentials
from jobs.settings.reading import known_keys, load_settings, parse_settings
from jobs.settings.steps import ValidationSettings
from jobs.settings.tables import IndexSettings, ModelSettings
from jobs.settings.values import format_duration, parse_duration
from jobs.settings.whole import Settings

__all__ = [
    "Hook",
    "IndexSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "Settings",
    "StoreSettings",
    "ThrottleSettings",
    "TlsSettings",
    "ValidationSettings",
    "credentials",
    "format_duration",
    "known_keys",
    "load_settings",
    "parse_duration",
    "parse_settings",
    "without_paths",
]
