"""The kind of destination, S3 with Parquet, as the API knows it (the work is in `worker.destination`)."""

import re
from typing import Any

DESTINATION_TYPE = "s3"
DEFINITION_ID = "4816b78f-1489-44c1-9060-4b19d5fa9362"
REQUIRED = ("s3_bucket_name", "s3_bucket_path", "format")
SECRETS = ("access_key_id", "secret_access_key")
DEFAULT_PATH_FORMAT = "${NAMESPACE}/${STREAM_NAME}/${YEAR}_${MONTH}_${DAY}_${EPOCH}_"
CODECS = {
    "UNCOMPRESSED": "none",
    "SNAPPY": "snappy",
    "GZIP": "gzip",
    "ZSTD": "zstd",
    "LZ4": "lz4",
    "BROTLI": "brotli",
}


def validate(configuration: dict[str, Any]) -> None:
    """Refuse what this destination does not do.

    :raises ValueError: naming the key and what is allowed.
    """
    missing = [key for key in REQUIRED if not configuration.get(key)]
    if missing:
        raise ValueError(f"The S3 destination's configuration lacks: {', '.join(missing)}.")
    shape = configuration["format"]
    if shape.get("format_type", "Parquet") != "Parquet":
        raise ValueError(f"format.format_type is {shape['format_type']!r}: this destination writes Parquet only.")
    if shape.get("compression_codec", "UNCOMPRESSED") not in CODECS:
        raise ValueError(
            f"format.compression_codec is {shape['compression_codec']!r}: expected one of {', '.join(CODECS)}."
        )
    if configuration.get("file_name_pattern"):
        raise ValueError("file_name_pattern is not supported: files are named by s3_path_format and part number.")
    unknown = set(re.findall(r"\$\{(\w+)\}", configuration.get("s3_path_format") or "")) - {
        "NAMESPACE", "STREAM_NAME", "YEAR", "MONTH", "DAY", "EPOCH",
    }  # fmt: skip
    if unknown:
        raise ValueError(f"s3_path_format has unknown variables: {', '.join(sorted(unknown))}.")
