"""SQL over REST: jobs, their states, pages of results, cancellation, the job list."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

SLOW = "SELECT SUM(a.n * b.n * c.n * d.n) FROM {t} a, {t} b, {t} c, {t} d"


@pytest.fixture
def slow_sql(orders):
    return (
        SLOW.replace("a.n", "a.id")
        .replace("b.n", "b.id")
        .replace("c.n", "c.id")
        .replace("d.n", "d.id")
        .format(t=orders)
    )


def test_a_query_becomes_a_completed_job(rest):
    job = rest.run("SELECT 1 AS one, 'x' AS x")
    assert (job["rowCount"], job["queryType"], job["errorMessage"]) == (1, "REST", "")
    assert job["startedAt"].endswith("Z") and job["endedAt"] >= job["startedAt"]
    assert rest.rows("SELECT 1 AS one, 'x' AS x") == [{"one": 1, "x": "x"}]


def test_bad_sql_is_a_failed_job_and_no_http_error(rest):
    assert "nope" in rest.error("SELECT nope FROM (VALUES (1)) AS t(a)")
    job_id = rest.submit("SELEC 1")
    assert rest.finished(job_id)["jobState"] == "FAILED"
    answer = rest.http.get(f"/job/{job_id}/results")
    assert answer.status_code == 400
    assert answer.json()["errorMessage"] == "Can not fetch details for a job that is in [FAILED] state."


def test_value_forms(rest):
    sql = (
        "SELECT CAST(1.5 AS DECIMAL(10, 2)) AS d, DATE '2024-02-29' AS day,"
        " TIMESTAMP '2024-01-02 03:04:05.678' AS ts, CAST(NULL AS VARCHAR) AS nothing, TRUE AS yes"
    )
    job = rest.run(sql)
    answer = rest.http.get(f"/job/{job['id']}/results")
    assert '"d":1.50' in answer.text
    assert answer.json()["rows"] == [
        {"d": 1.5, "day": "2024-02-29", "ts": "2024-01-02 03:04:05.678", "nothing": None, "yes": True}
    ]
    assert answer.json()["schema"][0] == {"name": "d", "type": {"name": "DECIMAL", "precision": 10, "scale": 2}}
    header = {"x-dremio-job-data-number-format": "number-as-string"}
    assert rest.http.get(f"/job/{job['id']}/results", headers=header).json()["rows"][0]["d"] == "1.50"


def test_results_are_paged(rest, orders):
    job = rest.run(f"SELECT id FROM {orders} ORDER BY id")
    page = rest.http.get(f"/job/{job['id']}/results", params={"offset": 990, "limit": 500}).json()
    assert (page["rowCount"], [row["id"] for row in page["rows"]]) == (1000, list(range(990, 1000)))
    assert len(rest.http.get(f"/job/{job['id']}/results").json()["rows"]) == 100
    too_many = rest.http.get(f"/job/{job['id']}/results", params={"limit": 501})
    assert (too_many.status_code, too_many.json()["errorMessage"]) == (400, "limit can not exceed 500 rows")


def test_duplicate_names_are_told_apart(rest):
    assert rest.rows("SELECT 1 AS a, 2 AS a") == [{"a": 1, "a0": 2}]


def test_a_context_names_the_path(rest, orders):
    source, table = orders.split(".")
    assert rest.rows(f"SELECT COUNT(*) AS n FROM {table}", context=[source]) == [{"n": 1000}]


def test_a_running_job_is_cancelled_and_really_stops(rest, slow_sql):
    job_id = rest.submit(slow_sql)
    rest.wait(lambda: rest.job(job_id)["jobState"] == "RUNNING")
    running = rest.http.get(f"/job/{job_id}/results")
    assert running.status_code == 400
    assert "[RUNNING]" in running.json()["errorMessage"]
    assert rest.http.post(f"/job/{job_id}/cancel").status_code == 204
    started = time.monotonic()
    job = rest.finished(job_id)
    assert time.monotonic() - started < 3
    assert job["jobState"] == "CANCELED"
    assert job["cancellationReason"] == f"Query cancelled by user '{rest.login['userName']}'"


def test_a_running_job_is_found_by_its_comment(rest, slow_sql):
    job_id = rest.submit(f'/* {{"node_id": "model.shop.{slow_sql[-8:]}"}} */ {slow_sql}')
    rest.wait(lambda: rest.job(job_id)["jobState"] == "RUNNING")
    listing = rest.http.get(
        f"{rest.url}/apiv2/jobs-listing/v1.0",
        params={"filter": f'(jst=="RUNNING");*=contains="model.shop.{slow_sql[-8:]}"'},
    )
    jobs = listing.json()["jobs"]
    assert [job["id"] for job in jobs] == [job_id]
    assert (jobs[0]["state"], jobs[0]["user"]) == ("RUNNING", rest.login["userName"])
    rest.http.post(f"/job/{job_id}/cancel").raise_for_status()
    assert rest.finished(job_id)["jobState"] == "CANCELED"


def test_a_job_is_listed_from_its_submission_on(rest):
    """Also while others are being written: what is looked up after a lost answer must not be missed."""

    def submitted_and_listed(number):
        mark = f"listed {number} {time.time_ns()}"
        job_id = rest.submit(f"SELECT {number} /* {mark} */")
        listing = rest.http.get(f"{rest.url}/apiv2/jobs-listing/v1.0", params={"filter": f'*=contains="{mark}"'})
        return [job["id"] for job in listing.json()["jobs"]] == [job_id]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(submitted_and_listed, range(40)))


def test_an_unknown_job_is_404(rest):
    answer = rest.http.get("/job/00000000-0000-0000-0000-000000000000")
    assert answer.status_code == 404
    assert "Could not find a job with id" in answer.json()["errorMessage"]


def test_clouds_paths_answer_too(rest):
    base = f"{rest.url}/v0/projects/some-project"
    job_id = rest.http.post(f"{base}/sql", json={"sql": "SELECT 2 AS two"}).json()["id"]
    assert rest.http.get(f"{base}/job/{job_id}").json()["jobState"] == "COMPLETED"
    assert rest.http.get(f"{base}/job/{job_id}/results").json()["rows"] == [{"two": 2}]


@pytest.mark.parametrize("body", [b"not json", b"[]", b"{}", b'{"sql": 7}', b'{"sql": "SELECT 1", "context": "a"}'])
def test_a_body_that_is_wrong_is_400(rest, body):
    answer = rest.http.post("/sql", content=body)
    assert answer.status_code == 400
    assert answer.json()["errorMessage"]
