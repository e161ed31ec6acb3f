"""Transactional documents on any `Storage`, with no coordinator but the store.

>>> from objectstorage import open_storage
>>> from objectstorage.datamanager import DataManager, Put
>>> data = DataManager(open_storage("memory://"))
>>> data.write([Put("user", "1", b"Ada")], groups=["user/1"]).seq
1
>>> token = data.head()
>>> data.write([Put("user", "1", b"Ada L.")], groups=["user/1"], token=token).seq
2
>>> data.read("user", "1").data
b'Ada L.'

`objectstorage.datamanager.aio` has the same for asynchronous stores. What follows
is the protocol: whoever keeps it may read and write the same data.

# What it keeps

Entries: a type, an id, bytes. A *commit* puts and deletes entries, all or none; it
has a sequence, 1, 2, 3 …, and *change groups*: names of what it read and changed.
A commit made by what was read at sequence t fails if one after t has a group in
common with it. So the commits of one group happen as if one after the other, and
those of disjoint groups don't wait for each other.

# Layout

    FORMAT.json                             version, store id; created once
    wal/<sequence>.json                     a *slot*: a commit; created once, contiguous
    waldata/<sweep>-<name>                  the payload of a commit, if it is large
    gc/boundary.json                        up to where the log was collected
    status/<checkpoint>.json                a *data status*; created once, contiguous
    data/<type>/c<checkpoint>-<name>.data   entries in id order, and
    data/<type>/c<checkpoint>-<name>.index  where blocks of them begin
    data/<type>/i<sweep>-<name>.…           the same, imported

Numbers have 20 digits, names are random, types are percent-escaped, ids are in the
files only. A slot has its commit's id and that of the one before, the groups, the
payload (itself, up to 32 KiB, else key, length and SHA-256), and what carries on
from slot to slot: the epoch, the sequence of the last sweep, whether there is
maintenance, the bytes so far. A small payload within the slot is as atomic as one
beside it, and one write less. Small objects carry a SHA-256 of themselves, frames
in payloads and data files a CRC-32, and a status the SHA-256 of every file it
names: nothing torn is taken for whole, and `verify` says what is torn.

# Commit

**The creation of slot head + 1 is the commit.** Before: the payload is written, if it
has an object. After: the boundary is read. Nothing else is waited for.

1. Taken: by our own id, it is ours (the reply was lost, or the request came twice).
   By another: read on to the new head; if a group meets, `ErrConcurrency`, else
   the next slot.
2. No reply: create *the same slot with the same bytes* again. At most one of the
   requests is it, whenever they arrive. No other slot is tried before this one is
   known to be taken. If the store goes on saying nothing: `ErrCommitUnknown`, and
   nothing is deleted.
3. The boundary is at or above the slot: its place had been collected. A status
   keeps the ids of the last 512 commits, so it is mostly known which of the two it
   is: our commit, collected since, or a leftover, made again by a writer that slept,
   which counts for nothing. If not known: `ErrCommitUnknown`.
4. A sweep came between: the payload may be swept, and is put again, under a new name.

Many that wait in one manager become one commit, as long as none would conflict with
another. Who leads them may be cancelled; the next to lead goes on with the same slot.

# Reading

The state is the newest status and the slots after it. Slots are read one by one
until one is missing; then the boundary. If it is no higher than the sequence that
reading began at, all of them count, and the missing one had not been created when it
was looked for: the state is that of the head at that moment. If it is higher, begin
again at the newest status. A data file that is missing means that its status is not
the newest any more; if it is, the data is damaged (`ErrIntegrity`).

# Checkpoint, collecting, sweeping

*Checkpoint* n + 1 lays the log over the files of checkpoint n. Anybody may make it;
its status is created only once, so of two that work on it, one did so in vain.
Because every checkpoint goes on from the one before, a file that the newest status
does not name is never named again.

*Collecting*: the boundary is moved (compare-and-swap; never down, never beyond the
newest status), then slots up to it are deleted, with payloads that a slot named
which counted when the boundary moved. Leftovers below it lose their slot only: their
payload may be another commit's. Then older statuses, and files made for checkpoints
that have come and that no status names.

*Sweeping* takes payloads of writers that died. A payload's name says which sweep it
was put after. The sweep is a commit itself: whoever commits later has seen it, and
names nothing put before it. So what was put before, and is not named by the log up to
the sweep, is named by nobody ever, however slow its writer is.

Ages (`min_age`, by the store's clock) keep tokens, snapshots and watchers of that age
working. No promise of the protocol rests on a clock.

*Fence*: a commit that raises the epoch; a write with `epoch=` of an earlier one is
refused. *Maintenance*: a commit after which writes are refused. *Import*: a commit whose
payload names data files that are everything from then on. Each takes its slot like any
other, so there is no moment between before and after.

# What an object's absence means

    FORMAT.json          nothing was ever written; with a log: damage
    slot n, n > boundary  n was not committed (yet)
    slot n, n <= boundary  collected; one that is there is a leftover, and means nothing
    boundary             0: nothing was collected
    a payload            damage, if its slot is above the boundary
    all statuses         no checkpoint yet; with a boundary: damage
    a data file          a newer status stands; if there is none, damage

# What it asks of the store

Create-only and compare-and-swap writes of small objects that hold (`ErrUnsupported`
otherwise, unless `single_writer=True`), reads and listings that see every write that
was acknowledged, and that nobody else touches the keys. Requests may come late, twice,
or after their client gave up; replies may be lost; clients may die or sleep anywhere.

Memory: a manager holds what was committed since the last checkpoint. Writers make a
checkpoint when that is 16 MiB, and commit nothing more at 48 MiB before there was one.
A checkpoint holds a data file besides (8 MiB); an entry is at most 16 MiB.
"""

from objectstorage.datamanager._sync.manager import DataManager
from objectstorage.datamanager._sync.snapshot import Snapshot
from objectstorage.datamanager.limits import Limits
from objectstorage.datamanager.model import (
    Action,
    Collected,
    Commit,
    DataStatus,
    Delete,
    Entry,
    Problem,
    Put,
    Report,
)

__all__ = [
    "Action",
    "Collected",
    "Commit",
    "DataManager",
    "DataStatus",
    "Delete",
    "Entry",
    "Limits",
    "Problem",
    "Put",
    "Report",
    "Snapshot",
]
