"""TLS towards a PACS and towards callers: the BCP 195 profile. PS3.15 B.12, RFC 9325."""

import hashlib
import socket
import ssl
from pathlib import Path

from core.destinations import Destination
from core.errors import BadSettings
from core.settings import Settings

# RFC 9325 4.2: forward secrecy and authenticated encryption; TLS 1.3 has nothing else
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def client_context(destination: Destination) -> ssl.SSLContext:
    """How the PACS is checked, and how we show who we are. Raises BadSettings naming the file that is at fault."""
    return peer_context(
        destination.tls_ca_file, destination.tls_certificate_file, destination.tls_key_file, prefix="tls_"
    )


def peer_context(
    ca_file: Path | None, certificate_file: Path | None = None, key_file: Path | None = None, prefix: str = ""
) -> ssl.SSLContext:
    """How a server is checked: by these certificates, or the usual ones; `prefix` begins the names of the settings.

    Raises BadSettings naming the file that is at fault.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks host name and certificate
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise BadSettings(f"{prefix}ca_file: {ca_file}: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    if certificate_file and key_file:
        try:
            context.load_cert_chain(certificate_file, key_file, _no_password)
        except OSError as error:
            named = f"{prefix}certificate_file, {prefix}key_file: {certificate_file}, {key_file}"
            raise BadSettings(f"{named}: {_why(error)}") from error
    return context


def server_context(settings: Settings) -> ssl.SSLContext:
    """How callers are checked, mutually unless a setting says otherwise. Raises BadSettings naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    assert settings.tls_certificate_file is not None
    try:
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file, _no_password)
    except OSError as error:
        named = f"{settings.tls_certificate_file}, {settings.tls_key_file}"
        raise BadSettings(f"tls_certificate_file, tls_key_file: {named}: {_why(error)}") from error
    if settings.tls_mutual:
        context.verify_mode = ssl.CERT_REQUIRED
    if settings.tls_ca_file is not None:
        try:
            context.load_verify_locations(settings.tls_ca_file)
        except OSError as error:
            raise BadSettings(f"tls_ca_file: {settings.tls_ca_file}: {_why(error)}") from error
        if not settings.tls_mutual:
            context.verify_mode = ssl.CERT_OPTIONAL
    return context


def fingerprint_of(connection: object) -> str:
    """SHA-256 of the certificate that the peer showed, as hexadecimal digits; empty where it showed none."""
    shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else ""


def _no_password() -> str:
    """OpenSSL would ask on the terminal; an empty one makes it say that the key is locked."""
    return ""


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not usable ({error.reason or 'no certificate or key in PEM'})"
    return error.strerror or type(error).__name__


def why_no_handshake(destination: Destination, timeout_s: float) -> str:
    """What stands in the way of TLS, in words for an administrator; empty when nothing does."""
    name = destination.tls_server_name or destination.host
    try:
        with socket.create_connection((destination.host, destination.port), timeout=timeout_s) as plain:
            client_context(destination).wrap_socket(plain, server_hostname=name).close()
    except TimeoutError:
        return "no TLS: nothing answered the handshake"
    except OSError as error:
        return why_no_connection(error)
    return ""


def why_no_connection(error: BaseException) -> str:
    """What an error of a connection, or of a library that made one, comes from, in words for an administrator."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    found = next((one for one in reversed(chain) if isinstance(one, OSError)), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {found.verify_message}"
    if isinstance(found, ssl.SSLError):
        return f"no TLS: {found.reason or 'the handshake failed'}"
    if isinstance(found, TimeoutError):
        return "nothing answered in time"
    return (found and found.strerror) or type(error).__name__
