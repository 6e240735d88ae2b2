"""Object storage over S3's API: MinIO, rclone, AWS. Buckets as declared, landing objects published as partitions."""
