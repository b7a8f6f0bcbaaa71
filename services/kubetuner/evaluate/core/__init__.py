"""The stage itself: no grpc, kubernetes or minio."""
