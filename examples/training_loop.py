"""Trains on a table for two epochs, is stopped in the second, and goes on from its checkpoint: training_loop.py LAKE

LAKE is a warehouse of `fastdata demo` or grpc://HOST:PORT of a server for one. No row is lost or repeated by the stop.
"""
import sys

import fastdata as fd
import torch

lake = fd.connect(sys.argv[1])
scan = lake["tpch.lineitem"].scan(columns=["l_orderkey", "l_linenumber", "l_partkey"], where="l_shipdate >= DATE '1998-01-01'")
run = scan.shuffle(seed=7, window=20_000).lanes(16)

model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
seen = []


def train(batches, steps=None):
    """Steps over batches until they end, or until it is stopped; returns a checkpoint."""
    for number, batch in enumerate(batches, 1):
        columns = batch.to_torch()
        part = columns["l_partkey"].float().unsqueeze(1) / 20_000
        loss = torch.nn.functional.mse_loss(model(part), columns["l_linenumber"].float().unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.extend(zip(columns["l_orderkey"].tolist(), columns["l_linenumber"].tolist()))
        if number == steps:
            break
    return {"model": model.state_dict(), "cursor": batches.cursor().to_json()}


train(run.epoch(0).shard(rank=0, world=1).batches(rows=1024, last="uneven"))
first = sorted(seen)
seen.clear()

checkpoint = train(run.epoch(1).shard(rank=0, world=1).batches(rows=1024, last="uneven"), steps=5)
# Elsewhere and later: the same table, whatever was committed to it meanwhile.
model.load_state_dict(checkpoint["model"])
train(run.resume(checkpoint["cursor"]).batches(rows=1024, last="uneven"))

assert sorted(seen) == first and len(set(first)) == len(first) == scan.count()
print(f"{len(seen)} rows in the second epoch, each once")
