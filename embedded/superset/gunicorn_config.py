"""How gunicorn serves Superset, from the repository's root:
`.venv-superset/bin/gunicorn -c embedded/superset/gunicorn_config.py`. Reads `SUPERSET_PORT`.

Two processes for two cores; forked after Superset is loaded (`preload_app`) they share its memory: about
330 MB for all of it. A dashboard asks for all of its charts at once, hence the threads.
"""

import os

wsgi_app = "embedded.superset.wsgi:application"
bind = f"127.0.0.1:{os.environ['SUPERSET_PORT']}"
preload_app = True
workers = 2
threads = 8
timeout = 120  # seconds; the same as SUPERSET_WEBSERVER_TIMEOUT
graceful_timeout = 2  # seconds; a chart request that is cut off can be asked again
control_socket_disable = True  # it would be one file in the home directory for every installation
