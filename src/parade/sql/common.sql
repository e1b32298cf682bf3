-- common.sql - schemas, words and settings that a catalog and a shard database share.
--
-- The installing role owns the database and everything here; it needs CREATEROLE and is no superuser.
-- Design: docs/internals/parade.md

do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'database "%" has the encoding %, a parade needs UTF8',
            current_database(), current_setting('server_encoding')
            using errcode = 'object_not_in_prerequisite_state';
    end if;
end
$$;

create schema kv;
create schema kv_config;
create schema kv_remotes;
create schema kv_stats;

comment on schema kv is 'Data of a parade, and the functions of its clients and its replicator.';
comment on schema kv_config is 'Topology, namespaces and settings of a parade.';
comment on schema kv_remotes is 'Foreign tables of installations that replicate without a daemon.';
comment on schema kv_stats is 'What an administrator reads.';

create domain kv.namespace as text collate "C"
    constraint namespace_length check (octet_length(value) between 1 and 63);
create domain kv.key as text collate "C" not null
    constraint key_length check (octet_length(value) <= 1024);
create domain kv.expiration_policy as text collate "C"
    constraint policy_length check (octet_length(value) between 1 and 63);

-- One row.  instance_id is the peer's number in a shard database, NULL in a catalog.
create table kv_config.my_info (
    instance_id int,
    hostname    text not null
);
create unique index my_info_one_row on kv_config.my_info ((true));

create table kv_config.schema_version (
    version    int primary key,
    applied_at timestamptz not null default now()
);

-- One row of settings that all members of a shard should share.
create table kv_config.setting (
    max_skew       interval not null default '5 seconds'  check (max_skew > '0'),
    gc_grace       interval not null default '10 days'    check (gc_grace >= '0'),
    conflicts_kept int      not null default 1000         check (conflicts_kept >= 0)
);
create unique index setting_one_row on kv_config.setting ((true));
insert into kv_config.setting default values;
comment on column kv_config.setting.max_skew is
    'Rows from further in the future wait in the quarantine until their time has come.';
comment on column kv_config.setting.gc_grace is
    'Age before a tombstone or an expired row may be removed; must exceed the age of the oldest backup.';

-- Which configuration this database has; (version, ts, origin) orders all that were ever pushed.
create table public.last_config_push (
    version bigint      not null default 0,
    ts      timestamptz not null default now(),
    origin  text        not null default ''
);
create unique index last_config_push_one_row on public.last_config_push ((true));
insert into public.last_config_push default values;

-- Expiry classes.  NO_EXPIRE needs no row.
create table public.expiry_to_interval (
    namespace   kv.namespace,
    policy      kv.expiration_policy check (policy <> 'NO_EXPIRE'),
    time_length interval not null check (time_length > '0'),
    primary key (namespace, policy)
);

create table kv_config.namespace (
    namespace      kv.namespace primary key,
    value_type     text not null default 'json'
                   check (value_type in ('json', 'jsonb', 'bytea', 'counter')),
    default_policy kv.expiration_policy not null default 'NO_EXPIRE',
    max_key        int not null default 255     check (max_key between 1 and 1024),
    max_value      int not null default 1048576 check (max_value between 1 and 67108864),
    quota_rows     bigint check (quota_rows >= 0),
    quota_bytes    bigint check (quota_bytes >= 0),
    restricted     boolean not null default false
);
comment on column kv_config.namespace.max_key is 'Bytes.';
comment on column kv_config.namespace.max_value is 'Bytes of the text form, or of a bytea.';
comment on column kv_config.namespace.restricted is
    'Only members of the roles in kv_config.namespace_grant may use it.';
insert into kv_config.namespace (namespace) values ('DEFAULT');

create table kv_config.namespace_grant (
    namespace kv.namespace references kv_config.namespace on delete cascade,
    grantee   text not null,
    may_write boolean not null default false,
    primary key (namespace, grantee)
);

-- The clock of this database.  Tests put a table of offsets under it; production has none.
create function kv.clock() returns timestamptz
language sql volatile
return pg_catalog.clock_timestamp();
comment on function kv.clock() is 'The clock that stamps writes and ends expiring rows.';
