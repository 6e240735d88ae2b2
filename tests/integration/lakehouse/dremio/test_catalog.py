import pytest

from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.ops import records


@pytest.fixture
def declared(lake, tmp_path):
    def write(sql):
        path = tmp_path / "dremio.yaml"
        path.write_text(
            f"views:\n  - path: {lake}_space.orders\n    description: Orders of the test.\n"
            f"    tags: [orders]\n    sql: {sql}\n"
        )
        return str(path)

    return write


def apply(path, parts=("views",)):
    return DremioApplyOperator(task_id="apply", path=path, parts=parts).execute({})


def test_the_source_is_as_declared_the_second_time(lake, tmp_path):
    path = tmp_path / "dremio.yaml"
    entry = f"{{name: {lake}, type: S3, connection: minio_default, root_path: /datalake/{lake}"
    path.write_text(f"sources:\n  - {entry}}}\nspaces:\n  - {{name: {lake}_space}}\n")
    assert apply(str(path), ("sources", "spaces")) == {"changed": [], "declared": 2}
    path.write_text(f"sources:\n  - {entry}, config: {{requesterPays: true}}}}\n")
    (change,) = apply(str(path), ("sources",))["changed"]
    assert "requesterPays" in change
    assert apply(str(path), ("sources",))["changed"] == []


def test_a_stream_from_its_first_object_to_a_new_column(hook, lake, put_parquet, declared, context_of, own_records):
    table = f"{lake}.bronze.shop.orders"
    missing = f"{lake}.bronze.shop.nothing"
    promote = DremioPromoteOperator(task_id="refresh", tables=[table, missing])
    context = context_of()

    put_parquet("bronze/shop/orders/date=2026-11-21/a.parquet", {"order_id": [1, 2], "amount": [1.5, 2.5]})
    first = promote.execute(context)
    assert first["promoted"] == [table] and first["absent"] == [missing] and first["rows"] == {table: 2}
    assert hook.query(f'SELECT order_id, "date" FROM {table} ORDER BY order_id')[0] == {
        "order_id": 1,
        "date": "2026-11-21",
    }

    view = declared(f"SELECT * FROM {table}")
    assert apply(view)["changed"] == [f"create view {lake}_space.orders"]
    assert apply(view)["changed"] == []

    put_parquet("bronze/shop/orders/date=2026-11-22/b.parquet", {"order_id": [3], "amount": [3.5], "note": ["x"]})
    second = promote.execute(context)
    assert second["refreshed"] == [table] and second["rows"] == {table: 3}
    apply(view)  # whether the view had to be made anew is the server's business, that it shows the column is not
    rows = hook.query(f"SELECT note FROM {lake}_space.orders WHERE order_id = 3")
    assert rows == [{"note": "x"}]
    assert apply(view)["changed"] == []

    facts = records.collect("it", "manual__it")["rows"]
    assert facts == [{"stage": "bronze", "dataset": table, "rows": 3}]


def test_a_changed_view_is_replaced_and_its_description_kept(hook, lake, declared):
    apply(declared("SELECT 1 AS a"))
    (change,) = apply(declared("SELECT 2 AS a"))["changed"]
    assert "sql differs" in change
    assert hook.query(f"SELECT a FROM {lake}_space.orders") == [{"a": 2}]
    entity = hook.find_entity([f"{lake}_space", "orders"])
    assert hook.get_wiki(entity["id"])["text"] == "Orders of the test."
    assert hook.get_tags(entity["id"])["tags"] == ["orders"]


def test_a_folder_its_description_and_a_view_in_it(hook, lake, tmp_path):
    path, folder = tmp_path / "dremio.yaml", f"{lake}_space.reports"
    path.write_text(
        f"folders:\n  - {{path: {folder}, description: Of one department.}}\n"
        f"views:\n  - {{path: {folder}.one, sql: SELECT 1 AS a}}\n"
    )
    parts = ("folders", "views")
    assert apply(str(path), parts)["changed"] == [f"create folder {folder}", f"create view {folder}.one"]
    assert apply(str(path), parts) == {"changed": [], "declared": 2}
    assert hook.query(f"SELECT a FROM {folder}.one") == [{"a": 1}]
    assert hook.get_wiki(hook.find_entity(folder.split("."))["id"])["text"] == "Of one department."
