"""Superset for Airflow: dashboards as code, applied and warmed."""
