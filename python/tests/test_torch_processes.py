"""Training with torch in processes of their own: process groups, and memory over many batches."""

from __future__ import annotations

import json
from pathlib import Path

import fastdata as fd
from support import need, python, running

need("torch")


_DDP = """
import sys, json
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import fastdata as fd
import fastdata.torch as ft

rank, location, store, snapshot = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
table = fd.connect(location)["py.evolved"]
# The first rank reads an old snapshot, as if the table had changed before the other one looked.
scan = table.scan(columns=["id"], snapshot=snapshot) if rank == 0 else table.scan(columns=["id"])
dataset = ft.Dataset(scan.lanes(5), batch_rows=7)
model = DistributedDataParallel(torch.nn.Linear(1, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
ids = []
for batch in torch.utils.data.DataLoader(dataset, batch_size=None):
    ids += batch["id"].tolist()
    loss = model(batch["id"].float().reshape(-1, 1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
refused = []
for options in ({"batch_rows": 7 + rank}, {"last": ("pad", "drop")[rank]}):
    try:
        ft.Dataset(scan.lanes(5), **options)
    except fd.Error as error:
        refused.append(str(error))
try:
    ft.Dataset((table.scan(columns=["nothing"]) if rank == 0 else scan).lanes(5))
except fd.NotFound as error:
    refused.append(str(error))
print(json.dumps({"ids": ids, "steps": dataset.figures().steps, "place": [dataset.rank, dataset.world], "refused": refused,
                  "weight": model.module.weight.item()}))
del model, optimizer, loss
dist.barrier()
dist.destroy_process_group()
"""


def test_ranks_of_a_process_group_agree_on_snapshot_and_steps(lake: fd.Lake, tmp_path: Path) -> None:
    old = min(lake["py.evolved"].snapshots(), key=lambda snapshot: snapshot["sequence_number"])["snapshot_id"]
    arguments = [lake.location, str(tmp_path / "store"), str(old)]
    with running(_DDP, "0", *arguments) as first, running(_DDP, "1", *arguments) as second:
        outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    answers = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert [answer["place"] for answer in answers] == [[0, 2], [1, 2]]
    assert {len(answer["ids"]) for answer in answers} == {answers[0]["steps"] * 7}
    read = [value for answer in answers for value in answer["ids"]]
    assert len(set(read)) == len(read) and set(read) <= set(range(100))
    assert answers[0]["weight"] == answers[1]["weight"]
    assert [text.partition(" on rank")[0] for text in answers[1]["refused"][:2]] == ["batch_rows is 8", "last is 'drop'"]
    assert all("nothing" in answer["refused"][-1] for answer in answers)


_EARLY = """
import sys
import torch.distributed as dist
import fastdata as fd
import fastdata.torch as ft
dataset = ft.Dataset(fd.connect(sys.argv[1])["py.many"].scan(columns=["id"]).lanes(4))
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=0, world_size=1)
assert len(next(iter(dataset))["id"]) == 1024
dist.get_world_size = lambda group=None: 2
try:
    iter(dataset)
except fd.InvalidRequest as error:
    print(error)
"""


def test_a_dataset_made_before_the_process_group_is_refused(lake: fd.Lake, tmp_path: Path) -> None:
    printed = python(_EARLY, lake.location, str(tmp_path / "store")).stdout
    assert "made before the process group: every rank would read all rows" in printed and "after torch.distributed.init_process_group" in printed


_MEMORY = """
import sys
import fastdata as fd
import fastdata.torch as ft

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

def read(dataset, limit):
    total = 0
    for epoch in range(100):
        dataset.set_epoch(epoch)
        for batch in dataset:
            total += sum(value.values.nbytes + value.offsets.nbytes if isinstance(value, ft.Ragged) else value.nbytes for value in batch.values())
            if total > limit:
                return

budget = int(sys.argv[2])
lake = fd.connect(sys.argv[1], memory=budget)
read(ft.Dataset(lake["py.many"].scan(columns=["id"]).lanes(4)), 1 << 16)
before = peak()
run = lake["py.big"].scan().shuffle(seed=1, window=20_000).lanes(8)
read(ft.Dataset(run, batch_rows=4096, strings="bytes"), 1 << 30)
print(peak() - before)
"""


def test_training_stays_within_the_budget(lake: fd.Lake) -> None:
    budget = 64 << 20
    grown = int(python(_MEMORY, lake.location, str(budget), timeout=250).stdout)
    assert grown < budget + (128 << 20), f"{grown >> 20} MiB more for 1 GiB of batches with a budget of {budget >> 20} MiB"
