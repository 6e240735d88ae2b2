"""Users with a password of their own as declared state. Users of a directory need no declaration: Dremio finds them.

The password is that of an Airflow connection and goes through the user API, never through SQL, which Dremio keeps in
its job history. A login tells whether it is still the one in Airflow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import StringConstraints

from lakehouse.dremio import calls
from lakehouse.dremio.connection import AirflowConnection
from lakehouse.dremio.exceptions import DremioAuthError, DremioConfigError, DremioError, DremioHttpError, DremioNotFound
from lakehouse.dremio.hook import DremioHook
from lakehouse.ops.declarations import Declared

Account = Annotated[str, StringConstraints(min_length=1, pattern=r'^[^"\n]+$')]


class User(Declared):
    """A user that logs in with a password.

    :ivar connection: the Airflow connection whose password is the user's.
    """

    name: Account
    connection: str


@dataclass(frozen=True)
class UserChange:
    """A user that is missing, or that has another password than is declared.

    :param there: what the server has now; None where it has nothing.
    """

    user: User
    there: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return f"create user {self.user.name}" if self.there is None else f"update user {self.user.name}: password"


def plan_users(
    hook: DremioHook, users: Sequence[User], connections: Callable[[str], AirflowConnection]
) -> list[UserChange]:
    """The users that are not as declared; changes nothing.

    :raises DremioConfigError: an Airflow connection has no password.
    """
    changes = []
    for user in users:
        there, password = _find(hook, user), _password(user, connections)
        if there is None or not _is_accepted(hook, user, password):
            changes.append(UserChange(user, there))
    return changes


def apply_user_change(hook: DremioHook, change: UserChange, connections: Callable[[str], AirflowConnection]) -> None:
    """Create the user, or give it the declared password; one that was made since is fine if the password is right.

    :raises DremioError: what Dremio answered.
    """
    if hook.settings.project_id:
        raise DremioError(f"user {change.user.name}: Dremio Cloud invites its users by e-mail; do it in its console")
    password = _password(change.user, connections)
    body = {"name": change.user.name, "password": password}
    try:
        if change.there is None:
            hook.rest.send(calls.create_user(body))
        else:
            hook.rest.send(calls.update_user(str(change.there["id"]), {**change.there, **body}))
    except DremioHttpError:
        if change.there is not None or not _is_accepted(hook, change.user, password):
            raise


def _find(hook: DremioHook, user: User) -> dict[str, Any] | None:
    try:
        return dict(hook.rest.send(calls.get_user(user.name)))
    except DremioNotFound:
        return None


def _password(user: User, connections: Callable[[str], AirflowConnection]) -> str:
    password = connections(user.connection).password
    if not password:
        raise DremioConfigError(f"user {user.name}: the Airflow connection {user.connection} has no password")
    return str(password)


def _is_accepted(hook: DremioHook, user: User, password: str) -> bool:
    try:
        hook.rest.send(calls.login(user.name, password))
    except DremioAuthError:
        return False
    return True
