"""Starts, watches and stops every service of the embedded stack.

processes.py   one service as an operating-system process: start, health, stop
postgres.py    the PostgreSQL server and its roles and databases
airflow.py     Airflow's settings, its metadata database, its connections
services.py    which services there are and what each needs before it can start
runs.py        triggers or adopts a DAG run over Airflow's API and follows it
summary.py     what `make up` prints at its end
__main__.py    the command line behind the make targets
"""
