"""The dbt profile that stands for an Airflow connection of type `dremio`."""

from typing import Any
from urllib.parse import urlsplit

from cosmos.profiles.base import BaseProfileMapping

from lakehouse.dbt.manifest import NAMES


class DremioProfileMapping(BaseProfileMapping):
    """Map an Airflow connection of type `dremio` to a profile of dbt-dremio.

    Reads host, port, login and password; from extra `use_ssl`, `verify_ssl`, `auth` ("pat": the password is an
    access token) and `project_id` (Dremio Cloud). The secret goes through an environment variable and never
    into the profile's file.

    Example::

        ProfileConfig(
            profile_name="lakehouse", target_name="dremio",
            profile_mapping=DremioProfileMapping(conn_id="dremio_default"),
        )
    """

    airflow_connection_type = "dremio"
    dbt_profile_type = "dremio"
    is_community = True
    required_fields = ["software_host", "port", "password"]  # noqa: RUF012  # the base class declares them so
    secret_fields = ["password"]  # noqa: RUF012
    airflow_param_mapping = {  # noqa: RUF012
        "software_host": "host",
        "port": "port",
        "user": "login",
        "password": "password",
    }

    @property
    def profile(self) -> dict[str, Any]:
        """The profile's fields, the secret as a reference to its environment variable."""
        extra = self.conn.extra_dejson
        fields: dict[str, Any] = {
            **self.mapped_params,
            **NAMES,
            "use_ssl": self._over_tls(),
            "verify_ssl": bool(extra.get("verify_ssl", True)),
            "threads": 4,
            **self.profile_args,
        }
        secret = self.get_env_var_format("password")
        if extra.get("auth") == "pat" or extra.get("project_id"):
            fields.pop("password", None)
            fields["pat"] = secret
        else:
            fields["password"] = secret
        if extra.get("project_id"):
            fields["cloud_host"] = fields.pop("software_host")
            fields["cloud_project_id"] = extra["project_id"]
            for key in ("port", "use_ssl"):
                fields.pop(key, None)
        return self.filter_null(fields)

    def _over_tls(self) -> bool:
        """As the hook has it: the scheme of a host that is a URL, else `use_ssl`."""
        scheme, separator, _ = str(self.conn.host).partition("://")
        return scheme == "https" if separator else bool(self.conn.extra_dejson.get("use_ssl"))

    def transform_software_host(self, host: str) -> str:
        """Take scheme and port off a host that is a URL."""
        return urlsplit(f"//{host.split('://', 1)[-1]}").hostname or host
