"""Encryption, from its settings."""

from __future__ import annotations

import ssl

from embedshift.errors import SettingsError
from embedshift.settings import TlsSettings


def tls_context(tls: TlsSettings, key: str) -> ssl.SSLContext:
    """The context for connections to servers whose certificates an authority of the settings has signed.

    Args:
        tls: its files.
        key: where it stands in the settings, such as ``store.tls``.

    Raises:
        SettingsError: a file is missing, or they do not belong together.
    """
    for name, path in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if path is not None and not path.is_file():
            raise SettingsError(f"{key}.{name}: there is no file {path}", hint="name a PEM file")
    try:
        context = ssl.create_default_context(cafile=str(tls.ca))
        if tls.certificate is not None:
            context.load_cert_chain(str(tls.certificate), str(tls.key) if tls.key else None)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"{key}: these are not PEM files that belong together ({error})") from error
    context.check_hostname = tls.check_hostname
    return context
