// gRPC only
