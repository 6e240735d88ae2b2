"""Geospatial functions: distances on a sphere and geohashes."""

from __future__ import annotations

import math

from embedded.dremio.sql.functions_python import python
from embedded.dremio.sql.kinds import BOOLEAN, DOUBLE, VARCHAR
from embedded.dremio.sql.registry import add
from embedded.dremio.types import DremioType

_EARTH_RADIUS = 6_371_000.0  # metres
_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"
_PRECISION = 20
_POSITION = DremioType("STRUCT", children=(("Latitude", DOUBLE), ("Longitude", DOUBLE)))


@python("py_geo_distance", "FLOAT FLOAT FLOAT FLOAT", "DOUBLE")
def geo_distance(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Metres between two points, by the haversine formula."""
    latitude, longitude = math.sin(math.radians(lat2 - lat1) / 2), math.sin(math.radians(lon2 - lon1) / 2)
    a = latitude * latitude + math.cos(math.radians(lat1)) * math.cos(math.radians(lat2)) * longitude * longitude
    return _EARTH_RADIUS * 2 * math.atan2(math.sqrt(a), math.sqrt(1 - a))


@python("py_geohash", "DOUBLE DOUBLE BIGINT", "VARCHAR")
def geohash(latitude: float, longitude: float, precision: int) -> str:
    """The geohash of a point."""
    if not 1 <= precision <= _PRECISION:
        raise ValueError(f"precision must be between 1 and {_PRECISION}")
    if not -90 <= latitude <= 90:
        raise ValueError("latitude must be between \N{EN DASH}90° and +90°")
    if not -180 <= longitude <= 180:
        raise ValueError("longitude must be between \N{EN DASH}180° and +180°")
    ranges, point = [[-180.0, 180.0], [-90.0, 90.0]], (longitude, latitude)
    out, code = "", 0
    for bit in range(precision * 5):
        low, high = ranges[bit % 2]
        middle = (low + high) / 2
        above = point[bit % 2] > middle
        ranges[bit % 2] = [middle, high] if above else [low, middle]
        code = code * 2 + above
        if bit % 5 == 4:
            out, code = out + _ALPHABET[code], 0
    return out


def _decoded(value: str) -> tuple[float, float]:
    if not value or any(c not in _ALPHABET for c in value):
        raise ValueError("geohash must be a valid, base32-encoded geohash")
    ranges = [[-180.0, 180.0], [-90.0, 90.0]]
    for place, bit in enumerate("".join(f"{_ALPHABET.index(c):05b}" for c in value)):
        low, high = ranges[place % 2]
        middle = (low + high) / 2
        ranges[place % 2] = [middle, high] if bit == "1" else [low, middle]
    longitude, latitude = ((low + high) / 2 for low, high in ranges)
    return latitude, longitude


@python("py_geohash_latitude", "VARCHAR", "DOUBLE")
def geohash_latitude(value: str) -> float:
    """The latitude of a geohash's middle."""
    return _decoded(value)[0]


@python("py_geohash_longitude", "VARCHAR", "DOUBLE")
def geohash_longitude(value: str) -> float:
    """The longitude of a geohash's middle."""
    return _decoded(value)[1]


_DISTANCE = "py_geo_distance(CAST({0} AS FLOAT), CAST({1} AS FLOAT), CAST({2} AS FLOAT), CAST({3} AS FLOAT))"
add("GEO_DISTANCE", "n,n,n,n", _DISTANCE, DOUBLE)
add("GEO_NEARBY", "n,n,n,n,n", f"({_DISTANCE} < CAST({{4}} AS DOUBLE))", BOOLEAN)
add("GEO_BEYOND", "n,n,n,n,n", f"({_DISTANCE} >= CAST({{4}} AS DOUBLE))", BOOLEAN)
add("ST_GEOHASH", "n,n", f"py_geohash(CAST({{0}} AS DOUBLE), CAST({{1}} AS DOUBLE), {_PRECISION})", VARCHAR)
add("ST_GEOHASH", "n,n,i", "py_geohash(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE), CAST({2} AS BIGINT))", VARCHAR)
add(
    "ST_FROMGEOHASH",
    "s",
    "CASE WHEN {0} IS NOT NULL THEN"
    ' struct_pack("Latitude" := py_geohash_latitude({0}), "Longitude" := py_geohash_longitude({0})) END',
    _POSITION,
)
