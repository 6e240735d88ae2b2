"""Users, login tokens and personal access tokens, kept in the PostgreSQL schema ``auth``.

Dremio hands out an opaque token at login that lives 30 hours and is sent back as ``Authorization: _dremio<token>``
or ``Bearer <token>``; a personal access token is sent in the Bearer form. Only digests of tokens are stored.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import secrets
import threading
import uuid
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from embedded.dremio.errors import ConcurrentModification

TOKEN_LIFE = dt.timedelta(hours=30)

_DDL = """
CREATE SCHEMA IF NOT EXISTS auth;
CREATE TABLE IF NOT EXISTS auth.account (
    user_name text PRIMARY KEY, user_id text NOT NULL UNIQUE, password_hash bytea NOT NULL, salt bytea NOT NULL,
    is_admin boolean NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS auth.token (
    digest bytea PRIMARY KEY, token_id text NOT NULL UNIQUE, kind text NOT NULL, label text NOT NULL DEFAULT '',
    user_name text NOT NULL REFERENCES auth.account ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL);
"""


class AuthenticationError(Exception):
    """The user name, password or token is not accepted."""


@dataclass(frozen=True)
class User:
    name: str
    user_id: str
    is_admin: bool
    created_at: dt.datetime


@dataclass(frozen=True)
class Token:
    """A token as given to its owner: ``text`` is known only at the moment of its creation."""

    text: str
    token_id: str
    user: User
    expires_at: dt.datetime


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _password_hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


class Accounts:
    """Who may log in. Thread safe; every answer that a request needs on its way is cached in memory."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._tokens: dict[bytes, tuple[User, dt.datetime]] = {}
        self._checked_passwords: dict[str, bytes] = {}
        self._cache_key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        with pool.connection() as connection:
            connection.execute(_DDL)
            connection.execute("DELETE FROM auth.token WHERE expires_at < now()")

    def ensure_admin(self, name: str, password: str) -> User:
        """Create the first administrator, or give it this password. Running it again changes nothing."""
        salt = secrets.token_bytes(16)
        with self._pool.connection() as connection:
            row = connection.execute(
                "SELECT password_hash, salt FROM auth.account WHERE user_name = %s", [name]
            ).fetchone()
            if row is None or not hmac.compare_digest(_password_hash(password, row[1]), row[0]):
                connection.execute(
                    "INSERT INTO auth.account (user_name, user_id, password_hash, salt, is_admin)"
                    " VALUES (%s, %s, %s, %s, true) ON CONFLICT (user_name) DO UPDATE"
                    " SET password_hash = excluded.password_hash, salt = excluded.salt, is_admin = true",
                    [name, str(uuid.uuid4()), _password_hash(password, salt), salt],
                )
                connection.execute("DELETE FROM auth.token WHERE user_name = %s AND kind = 'login'", [name])
        user = self.find(name)
        assert user is not None
        return user

    def create(self, name: str) -> None:
        """A new user that cannot log in before it has a password; raises ConcurrentModification."""
        with self._pool.connection() as connection:
            made = connection.execute(
                "INSERT INTO auth.account (user_name, user_id, password_hash, salt, is_admin)"
                " SELECT %s, %s, '', '', false WHERE NOT EXISTS"
                " (SELECT 1 FROM auth.account WHERE lower(user_name) = lower(%s)) RETURNING 1",
                [name, str(uuid.uuid4()), name],
            ).fetchone()
        if made is None:
            raise ConcurrentModification(f"User [{name}] already exists.")

    def set_password(self, name: str, password: str | None) -> None:
        """Give a user a password, or none to log in with; login tokens end."""
        salt = secrets.token_bytes(16)
        digest = b"" if password is None else _password_hash(password, salt)
        with self._pool.connection() as connection:
            connection.execute(
                "UPDATE auth.account SET password_hash = %s, salt = %s WHERE user_name = %s", [digest, salt, name]
            )
            connection.execute("DELETE FROM auth.token WHERE user_name = %s AND kind = 'login'", [name])
        self._forget_cached(name)

    def drop(self, name: str) -> None:
        """Remove a user and its tokens."""
        with self._pool.connection() as connection:
            connection.execute("DELETE FROM auth.account WHERE user_name = %s", [name])
        self._forget_cached(name)

    def _forget_cached(self, name: str) -> None:
        with self._lock:
            self._checked_passwords.pop(name, None)
            self._tokens.clear()

    def find(self, name: str) -> User | None:
        """The user of that name or id, or None."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "SELECT user_name, user_id, is_admin, created_at FROM auth.account"
                " WHERE user_name = %s OR user_id = %s",
                [name, name],
            ).fetchone()
        return User(*row) if row else None

    def check_password(self, name: str, password: str) -> User:
        """Raises AuthenticationError unless the password is this user's."""
        mark = hmac.digest(self._cache_key, f"{name}\0{password}".encode(), "sha256")
        with self._pool.connection() as connection:
            row = connection.execute(
                "SELECT user_name, user_id, is_admin, created_at, password_hash, salt FROM auth.account"
                " WHERE user_name = %s",
                [name],
            ).fetchone()
        if row is None:
            raise AuthenticationError("Login failed: Invalid username or password")
        known = self._checked_passwords.get(name) == mark + row[4]
        if not known and not hmac.compare_digest(_password_hash(password, row[5]), row[4]):
            raise AuthenticationError("Login failed: Invalid username or password")
        self._checked_passwords[name] = mark + row[4]
        return User(*row[:4])

    def login(self, name: str, password: str) -> Token:
        """A new login token, valid for 30 hours. Raises AuthenticationError."""
        return self.issue(self.check_password(name, password), "login", TOKEN_LIFE)

    def issue(self, user: User, kind: str, life: dt.timedelta, label: str = "") -> Token:
        """A new token of kind ``login`` or ``personal``."""
        token = Token(secrets.token_urlsafe(30), str(uuid.uuid4()), user, _now() + life)
        with self._pool.connection() as connection:
            connection.execute(
                "INSERT INTO auth.token (digest, token_id, kind, label, user_name, expires_at)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [_digest(token.text), token.token_id, kind, label, user.name, token.expires_at],
            )
        return token

    def knows(self, text: str) -> bool:
        """True when `user_of_token` will answer from memory, without asking PostgreSQL."""
        with self._lock:
            return _digest(text) in self._tokens

    def user_of_token(self, text: str) -> User:
        """Raises AuthenticationError when the token is unknown, logged out or expired."""
        digest = _digest(text)
        with self._lock:
            found = self._tokens.get(digest)
        if found is None:
            found = self._load_token(digest)
        user, expires_at = found
        if expires_at <= _now():
            raise AuthenticationError("the token has expired")
        return user

    def _load_token(self, digest: bytes) -> tuple[User, dt.datetime]:
        with self._pool.connection() as connection:
            row = connection.execute(
                "SELECT a.user_name, a.user_id, a.is_admin, a.created_at, t.expires_at"
                " FROM auth.token t JOIN auth.account a USING (user_name) WHERE t.digest = %s",
                [digest],
            ).fetchone()
        if row is None:
            raise AuthenticationError("the token is not known")
        with self._lock:
            if len(self._tokens) > 10_000:
                self._tokens.clear()
            self._tokens[digest] = (User(*row[:4]), row[4])
            return self._tokens[digest]

    def logout(self, text: str) -> None:
        """Forget a login token. A token that is not known is not an error."""
        with self._lock:
            self._tokens.pop(_digest(text), None)
        with self._pool.connection() as connection:
            connection.execute("DELETE FROM auth.token WHERE digest = %s", [_digest(text)])

    def personal_tokens(self, user: User) -> list[dict[str, str]]:
        """The user's personal access tokens: tid, uid, label, createdAt, expiresAt (never the token's text)."""
        with self._pool.connection() as connection:
            rows = connection.execute(
                "SELECT token_id, label, created_at, expires_at FROM auth.token"
                " WHERE user_name = %s AND kind = 'personal' ORDER BY created_at",
                [user.name],
            ).fetchall()
        return [
            {
                "tid": tid,
                "uid": user.user_id,
                "label": label,
                "createdAt": created.isoformat(),
                "expiresAt": expires.isoformat(),
            }
            for tid, label, created, expires in rows
        ]

    def drop_personal_token(self, user: User, token_id: str | None = None) -> None:
        """Forget one personal access token of this user, or all of them."""
        with self._pool.connection() as connection:
            connection.execute(
                "DELETE FROM auth.token WHERE user_name = %s AND kind = 'personal'"
                " AND (%s::text IS NULL OR token_id = %s)",
                [user.name, token_id, token_id],
            )
        with self._lock:
            self._tokens.clear()


def token_of_header(header: str) -> str:
    """The token of an ``Authorization`` header in the ``_dremio`` or ``Bearer`` form.

    Raises AuthenticationError.
    """
    if header.startswith("_dremio"):
        return header.removeprefix("_dremio").strip()
    if header[:7].lower() == "bearer ":
        return header[7:].strip()
    raise AuthenticationError("no token was sent")


def basic_credentials(header: str) -> tuple[str, str]:
    """User name and password of a ``Basic`` header. Raises AuthenticationError when it cannot be read.

    ADBC's driver leaves the padding of base64 away.
    """
    encoded = header[6:].strip()
    try:
        name, _, password = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode().partition(":")
    except ValueError as error:
        raise AuthenticationError("the Basic authorization header cannot be decoded") from error
    return name, password
