"""The RQ worker that advances runs: takes leases, drives the engine, performs effects, commits."""
