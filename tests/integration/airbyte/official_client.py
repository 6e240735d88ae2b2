"""Run by test_airbyte_api.py in the environment of Airflow: the official client and the official provider."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import airbyte_api
from airbyte_api import api, models

URL = os.environ["TEST_AIRBYTE_URL"]
CLIENT_ID, CLIENT_SECRET = os.environ["TEST_CLIENT_ID"], os.environ["TEST_CLIENT_SECRET"]


def main() -> None:
    credentials = models.SchemeClientCredentials(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, token_url=f"{URL}/applications/token"
    )
    client = airbyte_api.AirbyteAPI(server_url=URL, security=models.Security(client_credentials=credentials))
    assert client.health.get_health_check().status_code == 200
    connection = make_connection(client)
    request = models.JobCreateRequest(connection_id=connection, job_type=models.JobTypeEnum.SYNC)
    job = client.jobs.create_job(request=request).job_response
    while job.status in ("pending", "running", "incomplete"):
        time.sleep(0.1)
        job = client.jobs.get_job(request=api.GetJobRequest(job_id=job.job_id)).job_response
    assert job.status == "succeeded", job
    print("rows synced by the client:", job.rows_synced)
    listed = client.jobs.list_jobs(request=api.ListJobsRequest(connection_id=connection)).jobs_response
    assert [entry.job_id for entry in listed.data] == [job.job_id]
    low_code_source(client)
    use_the_hook(connection)


def make_connection(client: Any) -> str:
    workspace = client.workspaces.list_workspaces(request=api.ListWorkspacesRequest()).workspaces_response.data[0]
    source = client.sources.create_source(
        request=models.SourceCreateRequest(
            name="shop",
            workspace_id=workspace.workspace_id,
            configuration=models.SourcePostgres(
                host="127.0.0.1",
                port=int(os.environ["TEST_PG_PORT"]),
                database=os.environ["TEST_PG_DATABASE"],
                username="shopkeeper",
                password=os.environ["TEST_PG_PASSWORD"],
            ),
        )
    ).source_response
    destination = client.destinations.create_destination(
        request=models.DestinationCreateRequest(
            name="lake",
            workspace_id=workspace.workspace_id,
            configuration=models.DestinationS3(
                s3_bucket_name="datalake",
                s3_bucket_path="bronze/landing",
                s3_bucket_region="us-east-1",
                s3_endpoint=os.environ["TEST_S3"],
                access_key_id=os.environ["TEST_S3_KEY"],
                secret_access_key=os.environ["TEST_S3_SECRET"],
                format_={"format_type": "Parquet", "compression_codec": "SNAPPY"},
            ),
        )
    ).destination_response
    properties = client.streams.get_stream_properties(
        request=api.GetStreamPropertiesRequest(source_id=source.source_id, destination_id=destination.destination_id)
    ).stream_properties_response
    assert [stream.stream_name for stream in properties] == ["orders"]
    connection = client.connections.create_connection(
        request=models.ConnectionCreateRequest(
            name="official",
            source_id=source.source_id,
            destination_id=destination.destination_id,
            namespace_definition=models.NamespaceDefinitionEnum.CUSTOM_FORMAT,
            namespace_format="source=official",
            schedule=models.AirbyteAPIConnectionSchedule(schedule_type=models.ScheduleTypeEnum.MANUAL),
            configurations={"streams": [{"name": "orders", "sync_mode": "full_refresh_overwrite"}]},
        )
    ).connection_response
    shown = client.connections.get_connection(request=api.GetConnectionRequest(connection_id=connection.connection_id))
    assert shown.connection_response == connection
    client.sources.get_source(request=api.GetSourceRequest(source_id=source.source_id))
    client.destinations.get_destination(request=api.GetDestinationRequest(destination_id=destination.destination_id))
    return str(connection.connection_id)


def low_code_source(client: Any) -> None:
    workspace = client.workspaces.list_workspaces(request=api.ListWorkspacesRequest()).workspaces_response.data[0]
    manifest = {"type": "DeclarativeSource", "version": "6.0.0", "streams": [], "check": {"type": "CheckStream"}}
    definitions = client.declarative_source_definitions
    made = definitions.create_declarative_source_definition(
        request=api.CreateDeclarativeSourceDefinitionRequest(
            workspace_id=workspace.workspace_id,
            create_declarative_source_definition_request=models.CreateDeclarativeSourceDefinitionRequest(
                name="rest", manifest=manifest
            ),
        )
    ).declarative_source_definition_response
    listed = definitions.list_declarative_source_definitions(
        request=api.ListDeclarativeSourceDefinitionsRequest(workspace_id=workspace.workspace_id)
    ).declarative_source_definitions_response
    assert made in listed.data


def use_the_hook(connection_id: str) -> None:
    connection = {"conn_type": "airbyte", "host": URL, "login": CLIENT_ID, "password": CLIENT_SECRET}
    connection["schema"] = f"{URL}/applications/token"
    os.environ["AIRFLOW_CONN_AIRBYTE_TEST"] = json.dumps(connection)
    from airflow.providers.airbyte.hooks.airbyte import AirbyteHook

    hook = AirbyteHook(airbyte_conn_id="airbyte_test")
    assert hook.test_connection() == (True, "Connection successfully tested")
    job = hook.submit_sync_connection(connection_id)
    hook.wait_for_job(job.job_id, wait_seconds=0.2, timeout=60)
    print("state seen by the hook:", hook.get_job_status(job.job_id).value)
    hook.cancel_job(job.job_id)


if __name__ == "__main__":
    main()
