import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lakehouse.ops import database
from lakehouse.ops.lease import Holder, Lease, LeaseHeld, LeaseLost

pytestmark = pytest.mark.usefixtures("own_database")
PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
DB = "lakehouse_db"


def test_another_holder_is_kept_out_and_told_who_holds_it():
    with Lease(DB, "a", holder="first"):
        with pytest.raises(LeaseHeld, match="held by first, still after"), Lease(DB, "a", holder="second", wait=0.5):
            pass
        with Lease(DB, "other", holder="second"):
            pass


def test_given_back_it_is_free_at_once_and_the_token_grows():
    with Lease(DB, "b", holder="first") as lease:
        token = lease.token
    begun = time.monotonic()
    with Lease(DB, "b", holder="second") as lease:
        assert lease.token > token
    assert time.monotonic() - begun < 1


def test_a_retry_takes_over_from_its_orphan_whose_writes_are_refused():
    with Lease(DB, "c", holder="task") as orphan:
        orphan.check()
        with Lease(DB, "c", holder="task") as retry:
            with pytest.raises(LeaseLost, match="taken over by a newer holder"):
                orphan.check()
            retry.check()
        with pytest.raises(LeaseLost):
            orphan.check()


def test_an_older_try_never_takes_over_from_its_retry():
    with Lease(DB, "h", holder=Holder("task", 2)) as retry:
        begun = time.monotonic()
        with pytest.raises(LeaseLost, match="taken over by a newer"), Lease(DB, "h", holder=Holder("task", 1)):
            pass
        assert time.monotonic() - begun < 1  # it is told at once
        retry.check()
    with pytest.raises(LeaseLost), Lease(DB, "h", holder=Holder("task", 1)):
        pass  # nor when the retry has ended
    with Lease(DB, "h", holder=Holder("another task", 1)), pytest.raises(LeaseHeld, match="held by another task"):
        Lease(DB, "h", holder=Holder("task", 3), wait=0.1).__enter__()
    with Lease(DB, "h", holder=Holder("task", 3)) as cleared, Lease(DB, "h", holder=Holder("task", 4)) as newest:
        newest.check()
        with pytest.raises(LeaseLost):
            cleared.check()


def test_an_orphans_end_does_not_free_the_retrys_lease():
    orphan = Lease(DB, "d", holder="task")
    orphan.__enter__()
    with Lease(DB, "d", holder="task") as retry:
        orphan.__exit__(None, None, None)
        retry.check()
        with pytest.raises(LeaseHeld), Lease(DB, "d", holder="other", wait=0.2):
            pass


def test_it_is_renewed_for_as_long_as_it_is_held():
    with Lease(DB, "e", holder="first", ttl=1.0) as lease:
        time.sleep(2.5)
        with pytest.raises(LeaseHeld), Lease(DB, "e", holder="second", wait=0.1):
            pass
        lease.check()


def test_a_dead_holders_lease_expires(own_database):
    code = (
        "import os\nfrom lakehouse.ops.lease import Lease\n"
        "Lease('lakehouse_db', 'f', holder='dead', ttl=1.5).__enter__()\nprint('held', flush=True)\n"
        "import time; time.sleep(60)"
    )
    environment = {"LAKEHOUSE_DB_URL": own_database, "PYTHONPATH": str(PLUGINS), "PATH": "/usr/bin:/bin"}
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    with Lease(DB, "f", holder="next", ttl=1.5) as lease:
        lease.check()


def test_a_write_in_the_same_database_is_one_with_the_lease(own_database):
    with Lease(DB, "g", holder="task") as orphan:
        orphan_token = orphan.token
        connection = database.connect(own_database, autocommit=False)
        with connection, connection.cursor() as cursor:
            orphan.check_in(cursor)
            taken = threading.Event()
            retry = threading.Thread(target=lambda: (Lease(DB, "g", holder="task").__enter__(), taken.set()))
            retry.start()
            assert not taken.wait(1)  # waits for the transaction
        retry.join(10)
        assert taken.is_set()
        with connection, connection.cursor() as cursor, pytest.raises(LeaseLost):
            orphan.check_in(cursor)
        connection.close()
        assert orphan_token == orphan.token
