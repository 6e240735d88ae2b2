"""The records' path in a page is followed as `dpath` follows it."""

from typing import Any

import dpath
import pytest
from airbyte_cdk.sources.declarative.extractors import dpath_extractor

from embedded.airbyte.sources.declarative import _direct_paths

PAGE = {"data": {"items": [{"id": 1}, {"id": 2}], "none": None, "empty": []}, "a*b": [1], "rows": [[{"id": 3}]]}


@pytest.mark.parametrize(
    "path",
    [
        ["data", "items"],
        ["data", "none"],
        ["data", "empty"],
        ["data"],
        ["missing"],
        ["data", "missing", "items"],
        ["data", "items", "0"],
        ["rows", "0"],
        ["a*b"],
        ["d?ta", "empty"],
        ["[d]ata", "empty"],
    ],
)
@pytest.mark.parametrize("page", [PAGE, [PAGE], {}, []])
def test_a_path_leads_to_what_dpath_finds(path: list[str], page: Any) -> None:
    expected = dpath.get(page, path, default=[])
    with _direct_paths():
        assert dpath_extractor.dpath is not dpath
        assert dpath_extractor.dpath.get(page, path, default=[]) == expected
    assert dpath_extractor.dpath is dpath
