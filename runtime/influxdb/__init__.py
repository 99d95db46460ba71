"""InfluxDB over HTTP: a client, a source of points, the answers to queries, a sink."""
