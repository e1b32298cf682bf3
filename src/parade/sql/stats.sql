-- stats.sql - what an administrator reads of a shard instance.

create view kv_stats.links as
    select f.peer, p.hostname, p.port, p.state as member, f.state, kv.clock() - f.min_horizon as lag,
           f.merged_at, f.applied, f.conflicts, f.deferred, f.quarantined, f.skew, f.rounds,
           (select count(*) from kv.deferred d where d.source = f.peer) as deferred_now,
           (select count(*) from kv.quarantine q where q.source = f.peer) as quarantined_now,
           f.reclaim_open as reclaiming, f.verify_due,
           f.replicator, f.replicator_at, f.trouble
    from kv.peer_status_from f left join kv_config.peer p on p.peer = f.peer;
comment on view kv_stats.links is 'The links to this instance; lag is by the peer''s clock and ours.';

create view kv_stats.readers as
    select t.peer, p.hostname, p.port, p.state as member, t.min_horizon, t.ack_xid, t.acked_at,
           kv.clock() - t.acked_at as silent, t.fenced
    from kv.peer_status_to t left join kv_config.peer p on p.peer = t.peer;
comment on view kv_stats.readers is 'What peers hold of this instance.';

create view kv_stats.peer_status as
    select current_database()::text as server_name, kv.clock() as ts, p.hostname, p.port, f.min_horizon
    from kv.peer_status_from f join kv_config.peer p on p.peer = f.peer;

create view kv_stats.conflicts as
    select id, at, source, namespace, key, lost_version, kept_version, lost_value
    from kv.conflict order by id desc;
comment on view kv_stats.conflicts is 'The last rows that lost against a newer version here, newest first.';

create view kv_stats.not_received as
    select 'deferred' as kind, d.id, d.source, d.at, d.retry_at, '55P03' as sqlstate, 'locked' as message,
           (d.feed_row).namespace, (d.feed_row).key from kv.deferred d
    union all
    select 'quarantined', q.id, q.source, q.at, q.retry_at, q.sqlstate, q.message,
           (q.feed_row).namespace, (q.feed_row).key from kv.quarantine q;
comment on view kv_stats.not_received is 'Rows that arrived and are not written yet, and why.';

create view kv_stats.horizon_holders as
    select a.pid, null::text as gid, a.datname::text as database, a.usename::text as username,
           a.backend_xid::text as xid, clock_timestamp() - a.xact_start as age
    from pg_stat_activity a where a.backend_xid is not null and a.pid <> pg_backend_pid()
    union all
    select null, x.gid, x.database::text, x.owner::text, x.transaction::text, clock_timestamp() - x.prepared
    from pg_prepared_xacts x
    order by age desc;
comment on view kv_stats.horizon_holders is
    'Open transactions that write, of the whole instance. Their rows wait, and GC waits for them.';

create function kv_stats.update_usage() returns void
language sql security definer set search_path = pg_catalog, kv, pg_temp
as $$
    with found as (
        select t.namespace, count(*) as live_rows,
               sum(octet_length(t.key) + coalesce(octet_length(t.value::text), length(t.data)))::bigint as bytes
        from kv.t_kv t where t.value is not null or t.data is not null group by t.namespace
        union all
        select c.namespace, count(distinct c.key), sum(octet_length(c.key) + 16)::bigint
        from kv.t_counter c group by c.namespace)
    insert into kv_stats.usage (namespace, live_rows, bytes, measured_at)
    select n.namespace, coalesce(sum(f.live_rows), 0), coalesce(sum(f.bytes), 0), kv.clock()
    from kv_config.namespace n left join found f on f.namespace = n.namespace
    group by n.namespace
    on conflict (namespace) do update set live_rows = excluded.live_rows, bytes = excluded.bytes,
                                          measured_at = excluded.measured_at
$$;
comment on function kv_stats.update_usage() is
    'Measures what each namespace holds. Quotas hold from one measurement to the next.';
