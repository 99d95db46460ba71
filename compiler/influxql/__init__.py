"""InfluxQL: a query in a script becomes a tree (tickc.runtime.influxql.tree)."""
