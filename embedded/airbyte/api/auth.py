"""Client credentials and bearer tokens of the public API."""

import hashlib
import hmac
import time
import uuid
from typing import Any

import jwt
from starlette.responses import JSONResponse

from embedded.airbyte.api.calls import Call, Problem

TOKEN_SECONDS = 15 * 60


class Auth:
    """Issues and checks tokens. They are signed with a key made of the credentials, so a restart keeps them valid."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._key = hashlib.sha256(f"{client_id}:{client_secret}".encode()).hexdigest()

    def token(self, call: Call) -> Any:
        """POST /applications/token, with JSON or a form."""
        given = (str(call.body.get("client_id", "")), str(call.body.get("client_secret", "")))
        expected = (self._client_id, self._client_secret)
        # compare both, always, so that the time taken says nothing
        same = [hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, expected, strict=True)]
        if not all(same):
            return JSONResponse({"errorId": str(uuid.uuid4())}, 401)
        now = int(time.time())
        claims = {"sub": self._client_id, "iat": now, "exp": now + TOKEN_SECONDS}
        return {
            "access_token": jwt.encode(claims, self._key, algorithm="HS256"),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
        }

    def check(self, call: Call) -> None:
        """Let a call with a valid token pass.

        :raises Problem: 401.
        """
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise jwt.InvalidTokenError("no bearer token")
            jwt.decode(token, self._key, algorithms=["HS256"])
        except jwt.InvalidTokenError as error:
            raise Problem(
                401,
                "invalid-api-key",
                f"The bearer token is missing, wrong or expired ({error}); get one by POST /applications/token.",
            ) from None
