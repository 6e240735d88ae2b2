"""The Superset application, made ready before it serves (see `gunicorn_config.py`). Runs in `.venv-superset`.

`superset db upgrade`, `superset fab create-admin` and `superset init` each import all of Superset; done here,
in the process that gunicorn forks its workers from, Superset is imported once for all of it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from importlib.metadata import version
from pathlib import Path

import superset
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text
from superset.app import SupersetApp, create_app
from superset.extensions import appbuilder, db, security_manager
from werkzeug.security import check_password_hash, generate_password_hash

log = logging.getLogger("embedded.superset")

# Written as a comment on this table when the permissions are complete, so that a start that was killed in
# between is done again and a later one is not.
MARKED_TABLE = "alembic_version"


def prepare(app: SupersetApp) -> None:
    """Brings Superset's database to this version of Superset: schema, permissions and roles, administrator.

    Reads `SUPERSET_USERNAME` and `SUPERSET_PASSWORD`. Safe to repeat and to interrupt: what is done already
    is skipped (0.2 s). The administrator's password follows the environment; other users are left alone.
    """
    done = f"permissions of Superset {version('apache-superset')}"
    if not app._is_database_up_to_date():
        log.info("Bringing Superset's database to version %s", version("apache-superset"))
        upgrade(directory=str(Path(superset.__file__).parent / "migrations"))
        app.sync_config_to_db()  # create_app() passes over it while migrations are missing
    if _mark() != done:
        log.info("Writing Superset's permissions and roles")
        db.session().expire_on_commit = False  # thousands of small commits; each would read its rows again
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        db.session.commit()
        db.session.execute(text(f"COMMENT ON TABLE {MARKED_TABLE} IS '{done}'"))
        db.session.commit()
        db.session.remove()
    _ensure_administrator(os.environ["SUPERSET_USERNAME"], os.environ["SUPERSET_PASSWORD"])


def _mark() -> str | None:
    return db.session.execute(text(f"SELECT obj_description('{MARKED_TABLE}'::regclass, 'pg_class')")).scalar()


def _ensure_administrator(username: str, password: str) -> None:
    user = security_manager.find_user(username=username)
    admin = security_manager.find_role(security_manager.auth_role_admin)
    if user is None:
        email = f"{username}@localhost.localdomain"
        if not security_manager.add_user(username, "Lakehouse", "Administrator", email, admin, password=password):
            raise RuntimeError(f"Superset refused the administrator {username!r}; the reason is in the log above.")
    elif not check_password_hash(user.password, password):
        user.password = generate_password_hash(password)
        db.session.commit()


def prepared_application() -> Flask:
    """Superset's application with its database ready and no open connection, so that it can be forked.

    The preparation is forked too: Alembic replaces the logging configuration of the process that it runs in.

    Raises:
        RuntimeError: the preparation failed; its traceback is in the log above.
    """
    app = create_app()
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    child = multiprocessing.get_context("fork").Process(target=_prepare_in_context, args=(app,))
    child.start()
    child.join()
    if child.exitcode != 0:
        raise RuntimeError(
            f"Superset's database could not be made ready (exit code {child.exitcode}); the reason is in the log above."
        )
    return app


def _prepare_in_context(app: SupersetApp) -> None:
    with app.app_context():
        prepare(app)


application = prepared_application()
