"""dbt on Dremio inside Airflow: a task per model, rendered by Cosmos and run in the task's own process."""
