-- store.sql - the tables of a shard.  Functions write them, and no client may.

-- One row per key: its newest version.  value and data NULL: a tombstone.  The order of versions is
-- (ts, peer), then a tombstone before a value, then the digest (kv._rank): see docs/internals/parade.md.
create table kv.t_kv (
    namespace  kv.namespace not null,
    key        kv.key,
    value      json,
    data       bytea,
    ts         timestamptz not null,
    peer       int not null,
    expiration kv.expiration_policy not null default 'NO_EXPIRE',
    expires_at timestamptz,
    xid        xid8 not null,      -- the transaction of this instance that wrote the row here
    origin_xid xid8 not null,      -- the transaction of the peer's instance that wrote the version
    primary key (namespace, key)
);
create index t_kv_feed on kv.t_kv (peer, xid, namespace, key);
create index t_kv_tombstones on kv.t_kv (ts) where value is null and data is null;
create index t_kv_expiring on kv.t_kv (expires_at) where expires_at is not null;
comment on table kv.t_kv is 'The newest version of each key; a row without value and data is a tombstone.';

-- Counters: the value is the sum of p - n over the cells of the newest epoch.
create table kv.t_counter (
    namespace   kv.namespace not null,
    key         kv.key,
    epoch       timestamptz not null,  -- the last delete, or the begin of the expiry window; or -infinity
    peer        int not null,
    incarnation uuid not null,         -- changes whenever the history of the peer may have been cut
    p           bigint not null check (p >= 0),
    n           bigint not null check (n >= 0),
    expires_at  timestamptz,
    xid         xid8 not null,
    origin_xid  xid8 not null,
    primary key (namespace, key, epoch, peer, incarnation)
);
create index t_counter_feed on kv.t_counter (peer, xid, namespace, key, epoch, incarnation);
create index t_counter_expiring on kv.t_counter (expires_at) where expires_at is not null;

-- A row on its way from a feed to a merge: base types only, so that no row breaks the page that has it.
create type kv.feed_row as (
    kind        "char",        -- k: of t_kv, n: of t_counter
    namespace   text collate "C",
    key         text collate "C",
    value       text,
    data        bytea,
    ts          timestamptz,
    peer        int,
    expiration  text,
    expires_at  timestamptz,
    xid         xid8,
    epoch       timestamptz,
    incarnation uuid,
    p           bigint,
    n           bigint
);

-- A position in the feed of an origin: what `since` sees is received; of what `until` sees in
-- addition, what stands before (kind, xid, namespace, key, epoch, incarnation).  until NULL: no round is open.
create type kv.cursor as (
    since       pg_snapshot,
    until       pg_snapshot,
    kind        "char",
    xid         xid8,
    namespace   text collate "C",
    key         text collate "C",
    epoch       timestamptz,
    incarnation uuid
);

-- The members of this shard besides this one.
create table kv_config.peer (
    peer      int primary key,
    hostname  text not null default '',
    port      int not null default 5432,
    state     text not null default 'online'
              check (state in ('joining', 'online', 'draining', 'removed'))
);

-- How far this instance has pulled from a peer.
create table kv.peer_status_from (
    peer           int primary key,
    min_horizon    timestamptz not null default '1970-01-01Z',  -- the peer's clock when the last full round began
    state          text not null default 'new' check (state in ('new', 'streaming')),
    incarnation    uuid,
    cursor         kv.cursor not null default row('1:1:', null, null, null, null, null, null, null)::kv.cursor,
    round_clock    timestamptz,                 -- the peer's clock when the open round began
    round_beat     uuid,                        -- its newest heartbeat then
    round_seq      bigint,                      -- its number
    round_ts       timestamptz,                 -- and its time, by the peer's clock
    rounds         bigint not null default 0,   -- completed
    gc_xid         xid8,                        -- every member has acknowledged what is below
    reclaim        kv.cursor,                   -- of own rows that the peer gives back; NULL: done
    reclaim_open   boolean not null default false,
    verify_due     boolean not null default false,
    merged_at      timestamptz,
    applied        bigint not null default 0,
    conflicts      bigint not null default 0,
    deferred       bigint not null default 0,
    quarantined    bigint not null default 0,
    skew           interval,                    -- the peer's clock less ours, at the last merge
    replicator     text,                        -- the link's state, as the replicator told last
    replicator_at  timestamptz,
    trouble        text                         -- why it failed, with the remedy
);

-- How far a peer has pulled from this instance.
create table kv.peer_status_to (
    peer        int primary key,
    min_horizon timestamptz not null default '1970-01-01Z',
    ack_xid     xid8,                           -- the peer holds all rows of ours below; NULL: unknown
    acked_at    timestamptz not null,
    fenced      boolean not null default false  -- was silent for gc_grace: it must be bootstrapped
);

-- Rows that a merge could not write, because they were locked.  They count as not received.
create table kv.deferred (
    id       bigint generated always as identity primary key,
    source   int not null,
    at       timestamptz not null,
    retry_at timestamptz not null,
    feed_row kv.feed_row not null
);
create index deferred_due on kv.deferred (source, retry_at);
create unique index deferred_once on kv.deferred (source, ((feed_row).kind), md5((feed_row).namespace),
    md5((feed_row).key), ((feed_row).xid), ((feed_row).epoch), ((feed_row).incarnation)) nulls not distinct;

-- Rows that can't be written: data errors, and rows from the future.  They count as not received.
create table kv.quarantine (
    id       bigint generated always as identity primary key,
    source   int not null,
    at       timestamptz not null,
    retry_at timestamptz,                       -- NULL: when an administrator retries or drops it
    sqlstate text not null,
    message  text not null,
    feed_row kv.feed_row not null
);
create index quarantine_due on kv.quarantine (source, retry_at);
create unique index quarantine_once on kv.quarantine (source, ((feed_row).kind), md5((feed_row).namespace),
    md5((feed_row).key), ((feed_row).xid), ((feed_row).epoch), ((feed_row).incarnation)) nulls not distinct;

-- The last rows that lost against a newer version here.
create table kv.conflict (
    id           bigint generated always as identity primary key,
    at           timestamptz not null,
    source       int not null,
    namespace    text not null,
    key          text not null,
    lost_version text not null,
    kept_version text not null,
    lost_value   text
);

-- Random marks of this instance's history, and those of others that were seen.
create table kv.heartbeat (
    id       uuid primary key,
    seq      bigint generated always as identity,
    ts       timestamptz not null,
    snapshot pg_snapshot not null   -- of the heartbeat's own transaction: what is older than the mark
);
create table kv.heartbeat_held (
    peer int not null,
    id   uuid not null,
    seq  bigint not null,           -- seq and ts of the peer's table
    ts   timestamptz not null,
    at   timestamptz not null,
    primary key (peer, id)
);

-- This instance's history is unbroken since this row was written.  PostgreSQL empties an unlogged
-- table after a crash, at a promotion and in a restored backup; xid tells a dump's copy from the row.
create unlogged table kv_config.running (
    instance_id int not null,
    incarnation uuid not null,
    state       text not null check (state in ('reclaiming', 'online', 'fenced')),
    since       timestamptz not null,
    xid         xid8 not null
);
create unique index running_one_row on kv_config.running ((true));

create table kv.gc_state (
    horizon timestamptz not null default '-infinity',  -- tombstones up to this ts may be gone here
    safe    jsonb not null default '{}',               -- peer: xid below which rows may be removed
    waiting jsonb not null default '{}',               -- becomes safe when every link has made two rounds more
    rounds  jsonb not null default '{}',               -- of each link, when waiting was written
    ran_at  timestamptz
);
create unique index gc_state_one_row on kv.gc_state ((true));
insert into kv.gc_state default values;

create table kv_stats.usage (
    namespace   kv.namespace primary key,
    live_rows   bigint not null,
    bytes       bigint not null,
    measured_at timestamptz not null
);

create function kv._version(ts timestamptz, peer int) returns text
language sql immutable
return (extract(epoch from ts) * 1000000)::bigint || '-' || peer;

-- The third word of the order, for versions of equal ts and peer: a tombstone wins, then the digest.
create function kv._rank(value text, data bytea, expires_at timestamptz) returns text
language sql immutable
return case when value is null and data is null then 'z'
            else md5(coalesce(value, '') || '|' || coalesce(encode(data, 'hex'), '') || '|'
                     || coalesce((extract(epoch from expires_at) * 1000000)::bigint::text, '')) end;
comment on function kv._rank(text, bytea, timestamptz) is
    'Orders versions of equal ts and peer: such versions exist when a peer''s history was cut.';

create view public.vw_kv as
    select namespace, key, value, data, ts, peer, expiration, expires_at,
           value is null and data is null as deleted
    from kv.t_kv;
