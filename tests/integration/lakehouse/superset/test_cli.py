from lakehouse.cli import main


def test_plan_apply_plan(corner, capfd):
    assert main(["plan", "--only", "superset"]) == 2
    planned = capfd.readouterr().out
    assert "  ~ dashboard" in planned and "does not exist" in planned
    assert main(["apply", "--only", "superset"]) == 0
    assert capfd.readouterr().out.count("  * ") == planned.count("  ~ ")
    assert main(["plan", "--only", "superset"]) == 0
    assert "superset: as declared" in capfd.readouterr().out
