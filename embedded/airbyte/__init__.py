"""Airbyte's API and its model of sources, destinations, connections and jobs, over Arrow readers and Airbyte's CDK.

What talks to it cannot tell it from Airbyte: the `airbyte-api` client and Airflow's Airbyte provider run against
it unchanged. See README.md beside this file for what is covered and where it differs on purpose.
"""
