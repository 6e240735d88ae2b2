"""`python -m embedded.airbyte --port N --config-port N --data-dir DIR`: runs until SIGTERM.

Environment: AIRBYTE_DATABASE_URL, AIRBYTE_CLIENT_ID, AIRBYTE_CLIENT_SECRET.
"""

import argparse
import logging
import os
import sys

# Nothing heavy is imported here: worker processes import this module again when they start.


def main() -> int:
    from embedded.airbyte.server import serve

    parser = argparse.ArgumentParser(prog="python -m embedded.airbyte", description="The embedded Airbyte.")
    parser.add_argument("--port", type=int, required=True, help="of the public API, /api/public/v1")
    parser.add_argument("--config-port", type=int, required=True, help="of the config API, /api/v1")
    parser.add_argument("--data-dir", required=True, help="folder for files on their way")
    arguments = parser.parse_args()
    names = ("AIRBYTE_DATABASE_URL", "AIRBYTE_CLIENT_ID", "AIRBYTE_CLIENT_SECRET")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        parser.error(f"these environment variables are not set: {', '.join(missing)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    database_url, client_id, client_secret = (os.environ[name] for name in names)
    return serve(
        port=arguments.port,
        config_port=arguments.config_port,
        data_dir=arguments.data_dir,
        database_url=database_url,
        client_id=client_id,
        client_secret=client_secret,
    )


if __name__ == "__main__":
    raise SystemExit(main())
