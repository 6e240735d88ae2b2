"""Login, logout, personal access tokens, the user's own entry, and the server's status."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embedded.dremio.errors import ConcurrentModification
from embedded.dremio.protocol.auth import AuthenticationError, Token, User
from embedded.dremio.protocol.responses import ApiError, JsonResponse, body_object, no_content

VERSION = "26.0.0"


def _milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def _login_json(token: Token) -> dict[str, Any]:
    user = token.user
    return {
        "token": token.text,
        "userName": user.name,
        "firstName": user.name,
        "lastName": "",
        "expires": _milliseconds(token.expires_at),
        "email": "",
        "userId": user.user_id,
        "admin": user.is_admin,
        "clusterId": "embedded",
        "clusterCreatedAt": _milliseconds(user.created_at),
        "version": VERSION,
        "permissions": {
            "canUploadProfiles": user.is_admin,
            "canDownloadProfiles": user.is_admin,
            "canEmailForSupport": False,
            "canChatForSupport": False,
            "canViewAllJobs": user.is_admin,
            "canCreateUser": user.is_admin,
            "canCreateRole": False,
            "canCreateSource": user.is_admin,
            "canUploadFile": False,
            "canManageNodeActivity": False,
            "canManageEngines": False,
            "canManageQueues": False,
            "canManageEngineRouting": False,
            "canManageSupportSettings": False,
        },
        "userCreatedAt": _milliseconds(user.created_at),
    }


async def server_status(request: Request) -> Response:
    """GET /apiv2/server_status: the JSON text ``"OK"`` once the server is usable."""
    return JsonResponse("OK")


async def login(request: Request) -> Response:
    """POST /apiv2/login {userName, password}. 401 with an error body when they are not accepted."""
    body = await body_object(request)
    accounts = request.app.state.services.accounts
    try:
        token = await asyncio.to_thread(accounts.login, str(body.get("userName", "")), str(body.get("password", "")))
    except AuthenticationError as error:
        raise ApiError(401, str(error)) from error
    return JsonResponse(_login_json(token))


async def check_login(request: Request) -> Response:
    """GET /apiv2/login: true for a valid token (the others never come here)."""
    return JsonResponse(True)


async def logout(request: Request) -> Response:
    """DELETE /apiv2/login: the token that was sent is forgotten."""
    await asyncio.to_thread(request.app.state.services.accounts.logout, request.state.token)
    return no_content()


def user_by_name(request: Request) -> Response:
    """GET /api/v3/user/by-name/{name} and /api/v3/user/{id}."""
    wanted = request.path_params["user"]
    user = request.app.state.services.accounts.find(wanted)
    if user is None:
        raise ApiError(404, f"User [{wanted}] not found.")
    return _user_json(request, user)


def _user_json(request: Request, user: User) -> Response:
    kind = "User" if request.app.state.services.runner.engine.access is None else "EnterpriseUser"
    return JsonResponse({"@type": kind, "id": user.user_id, "name": user.name, "active": True})


async def create_user(request: Request) -> Response:
    """POST /api/v3/user {name, password}. The names and the address of a person are not kept, and refused."""
    services, body = request.app.state.services, await body_object(request)
    name, password = str(body.get("name") or ""), _password(request, body)
    if not name or not password:
        raise ApiError(400, "A user needs a name and a password: there is no directory that it could come from.")
    try:
        await asyncio.to_thread(services.accounts.create, name)
    except ConcurrentModification as error:
        raise ApiError(400, error.message) from error
    await asyncio.to_thread(services.accounts.set_password, name, password)
    engine = services.runner.engine
    await asyncio.to_thread(engine.catalog.ensure_home, name)
    if engine.access is not None:
        engine.access.grants.users_changed()
    return _user_json(request, services.accounts.find(name))


async def update_user(request: Request) -> Response:
    """PUT /api/v3/user/{id} {name, password}: another password."""
    services, body = request.app.state.services, await body_object(request)
    user, password = services.accounts.find(request.path_params["user"]), _password(request, body)
    if user is None:
        raise ApiError(404, f"User [{request.path_params['user']}] not found.")
    if body.get("name") != user.name:
        raise ApiError(400, "Changing of user name is not supported")
    if password:
        await asyncio.to_thread(services.accounts.set_password, user.name, password)
    return _user_json(request, user)


def _password(request: Request, body: dict[str, Any]) -> str | None:
    """The password that an administrator sends, checked as Dremio checks it."""
    if not request.state.user.is_admin:
        raise ApiError(403, "Users are managed by administrators.")
    if unknown := sorted({"firstName", "lastName", "email", "roles"} & {key for key, value in body.items() if value}):
        raise ApiError(400, f"{', '.join(unknown)} of a user cannot be set in this edition.")
    password = body.get("password")
    if password is not None and not re.fullmatch(r"(?=.*[a-zA-Z])(?=.*[0-9]).{8,}", str(password)):
        raise ApiError(
            400, "Invalid password: must be at least 8 letters long, must contain at least one number and one letter"
        )
    return password and str(password)


def _own_account(request: Request) -> User:
    user: User = request.state.user
    if request.path_params["user"] != user.user_id:
        raise ApiError(403, "Personal access tokens can be managed by their owner only.")
    return user


def list_tokens(request: Request) -> Response:
    """GET /api/v3/user/{id}/token."""
    accounts = request.app.state.services.accounts
    return JsonResponse({"data": accounts.personal_tokens(_own_account(request))})


async def create_token(request: Request) -> Response:
    """POST /api/v3/user/{id}/token {label, millisecondsToExpire}: the token's text, shown this once."""
    user, body = _own_account(request), await body_object(request)
    life = body.get("millisecondsToExpire")
    if not isinstance(life, int) or not 0 < life <= 180 * 86_400_000:
        raise ApiError(400, "millisecondsToExpire must be between 1 and 180 days in milliseconds.")
    accounts, label = request.app.state.services.accounts, str(body.get("label", ""))
    token = await asyncio.to_thread(accounts.issue, user, "personal", dt.timedelta(milliseconds=life), label)
    return Response(token.text, media_type="text/plain")


def delete_token(request: Request) -> Response:
    """DELETE /api/v3/user/{id}/token and /api/v3/user/{id}/token/{tokenId}."""
    accounts = request.app.state.services.accounts
    accounts.drop_personal_token(_own_account(request), request.path_params.get("token"))
    return no_content()
