-- merge.sql - pages of a feed written here, in one transaction with the cursor.
--
-- A merge yields to clients: it waits 200 ms for a lock, less than deadlock_timeout, and defers the row.

-- Writes what is newer than what is here; returns how many rows that were.
create function kv._apply(source int, page kv.feed_row[]) returns int
language plpgsql
as $$
declare
    me int := (select instance_id from kv_config.my_info);
    written int;
    cells int;
begin
    insert into kv.t_kv as t (namespace, key, value, data, ts, peer, expiration, expires_at, xid, origin_xid)
    select f.namespace, f.key, f.value::json, f.data, f.ts, f.peer, f.expiration, f.expires_at,
           pg_current_xact_id(), case when f.peer = me then pg_current_xact_id() else f.xid end
    from unnest(page) f
    where f.kind = 'k'
    order by f.namespace, f.key
    on conflict (namespace, key) do update
        set value = excluded.value, data = excluded.data, ts = excluded.ts, peer = excluded.peer,
            expiration = excluded.expiration, expires_at = excluded.expires_at,
            xid = excluded.xid, origin_xid = excluded.origin_xid
        where (excluded.ts, excluded.peer) > (t.ts, t.peer)
           or ((excluded.ts, excluded.peer) = (t.ts, t.peer)
               and (kv._rank(excluded.value::text, excluded.data, excluded.expires_at)
                    > kv._rank(t.value::text, t.data, t.expires_at)
                    or (t.peer = source and excluded.origin_xid <> t.origin_xid
                        and kv._rank(excluded.value::text, excluded.data, excluded.expires_at)
                          = kv._rank(t.value::text, t.data, t.expires_at))));
    get diagnostics written = row_count;
    insert into kv.t_counter as t (namespace, key, epoch, peer, incarnation, p, n, expires_at, xid, origin_xid)
    select f.namespace, f.key, f.epoch, f.peer, f.incarnation, f.p, f.n, f.expires_at,
           pg_current_xact_id(), case when f.peer = me then pg_current_xact_id() else f.xid end
    from unnest(page) f
    where f.kind = 'n'
    order by f.namespace, f.key, f.epoch, f.peer, f.incarnation
    on conflict (namespace, key, epoch, peer, incarnation) do update
        set p = greatest(t.p, excluded.p), n = greatest(t.n, excluded.n),
            expires_at = greatest(t.expires_at, excluded.expires_at),
            xid = excluded.xid, origin_xid = excluded.origin_xid
        where excluded.p > t.p or excluded.n > t.n
           or (t.peer = source and excluded.origin_xid <> t.origin_xid);
    get diagnostics cells = row_count;
    return written + cells;
end
$$;

create function kv._defer(source int, page kv.feed_row[]) returns void
language sql
as $$
    insert into kv.deferred (source, at, retry_at, feed_row)
    select _defer.source, kv.clock(), kv.clock() + interval '250 milliseconds', f from unnest(page) f
    on conflict do nothing
$$;

create function kv._refuse(source int, page kv.feed_row[], state text, why text, again timestamptz) returns void
language sql
as $$
    insert into kv.quarantine (source, at, retry_at, sqlstate, message, feed_row)
    select _refuse.source, kv.clock(), again, state, why, f from unnest(page) f
    on conflict do nothing
$$;

-- Applies a page; the rows that can't be written are deferred (locked) or quarantined (wrong data).
create function kv._apply_or_divide(source int, page kv.feed_row[]) returns int
language plpgsql
as $$
declare
    count int := coalesce(cardinality(page), 0);
    state text;
    why text;
begin
    if count = 0 then
        return 0;
    end if;
    begin
        return kv._apply(source, page);
    exception when others then
        get stacked diagnostics state = returned_sqlstate, why = message_text;
    end;
    if state not in ('55P03', '40P01') and left(state, 2) not in ('22', '23') then
        raise exception using errcode = state, message = why;
    end if;
    if count > 1 then
        if state in ('55P03', '40P01') then
            -- From here on short waits: the page holds up its link.
            perform set_config('lock_timeout', '10ms', true);
            page := kv._defer_locked(source, page);
            count := coalesce(cardinality(page), 0);
        end if;
        if count > 1 then
            return kv._apply_or_divide(source, page[:count / 2]) + kv._apply_or_divide(source, page[count / 2 + 1:]);
        end if;
        return kv._apply_or_divide(source, page);
    end if;
    if state in ('55P03', '40P01') then
        perform kv._defer(source, page);
    else
        perform kv._refuse(source, page, state, why, null);
    end if;
    return 0;
end
$$;

-- Defers the rows whose present versions other sessions have locked; returns the rest.
create function kv._defer_locked(source int, page kv.feed_row[]) returns kv.feed_row[]
language plpgsql
as $$
declare
    locked kv.feed_row[];
    rest kv.feed_row[];
begin
    with ours as materialized (
        select t.namespace, t.key from kv.t_kv t
        where (t.namespace, t.key) in (select f.namespace, f.key from unnest(page) f where f.kind = 'k')
        for update skip locked)
    select array_agg(f) filter (where here and o.key is null), array_agg(f) filter (where not here or o.key is not null)
    into locked, rest
    from (select f, f.namespace, f.key,
                 f.kind = 'k' and exists (select from kv.t_kv t where t.namespace = f.namespace and t.key = f.key) as here
          from unnest(page) f) a (f, namespace, key, here)
    left join ours o on o.namespace = a.namespace and o.key = a.key;
    perform kv._defer(source, locked);
    return rest;
end
$$;

-- Rows that wait and are due again, taken out of their tables.
create function kv._due(from_source int) returns kv.feed_row[]
language plpgsql
as $$
declare
    again kv.feed_row[];
begin
    with d as (delete from kv.deferred where id in (
                   select id from kv.deferred where source = from_source and retry_at <= kv.clock()
                   order by id limit 1000)
               returning feed_row),
         q as (delete from kv.quarantine where id in (
                   select id from kv.quarantine where source = from_source and retry_at <= kv.clock()
                   order by id limit 1000)
               returning feed_row)
    select array_agg(feed_row) into again from (select * from d union all select * from q) r;
    return again;
end
$$;

-- One version per key: an older one that was deferred gives way.
create function kv._newest(page kv.feed_row[]) returns kv.feed_row[]
language sql immutable
as $$
    select array_agg(f) from (
        select distinct on (f.kind, f.namespace, f.key, f.epoch, f.incarnation, case when f.kind = 'n' then f.peer end) f
        from unnest(page) f
        order by f.kind, f.namespace, f.key, f.epoch, f.incarnation, case when f.kind = 'n' then f.peer end,
                 f.ts desc, f.peer desc, kv._rank(f.value, f.data, f.expires_at) desc, f.p desc, f.n desc) newest (f)
$$;

-- Keeps what lost against a newer version.
create function kv._note_conflicts(from_source int, page kv.feed_row[]) returns int
language plpgsql
as $$
declare
    lost int;
    kept int := (select conflicts_kept from kv_config.setting);
begin
    insert into kv.conflict (at, source, namespace, key, lost_version, kept_version, lost_value)
    select kv.clock(), from_source, f.namespace, f.key, kv._version(f.ts, f.peer), kv._version(t.ts, t.peer),
           left(coalesce(f.value, encode(f.data, 'hex')), 1000)
    from unnest(page) f
    join kv.t_kv t on t.namespace = f.namespace and t.key = f.key
    where f.kind = 'k' and (t.ts, t.peer) > (f.ts, f.peer)
    order by f.namespace, f.key;
    get diagnostics lost = row_count;
    if lost > 0 then
        delete from kv.conflict where id <= (select id from kv.conflict order by id desc offset kept limit 1);
    end if;
    return lost;
end
$$;

-- Writes a page and what was due; rows from the future wait until their time has come.
create function kv._merge_rows(source int, page kv.feed_row[],
                               out applied int, out conflicts int, out deferred int, out quarantined int)
language plpgsql
as $$
declare
    due kv.feed_row[] := kv._due(source);
    bound timestamptz := kv.clock() + (select max_skew from kv_config.setting);
    early kv.feed_row[];
    last_deferred bigint := (select coalesce(max(id), 0) from kv.deferred);
    last_quarantined bigint := (select coalesce(max(id), 0) from kv.quarantine);
begin
    if due is not null then
        page := kv._newest(page || due);
    end if;
    if exists (select from unnest(page) f where f.ts > bound) then
        select array_agg(f) filter (where f.ts > bound), array_agg(f) filter (where f.ts > bound is not true)
        into early, page from unnest(page) f;
        perform kv._refuse(source, array[f], '22008', format(
                    'version of %s is further in the future than max_skew', f.ts), f.ts - (bound - kv.clock()))
        from unnest(early) f;
    end if;
    applied := kv._apply_or_divide(source, page);
    conflicts := case when applied < cardinality(page) then kv._note_conflicts(source, page) else 0 end;
    deferred := (select count(*) from kv.deferred d where d.id > last_deferred and d.source = _merge_rows.source);
    quarantined := (select count(*) from kv.quarantine q where q.id > last_quarantined and q.source = _merge_rows.source);
end
$$;

create function kv._rows_of(page kv.feed_page, origin int) returns kv.feed_row[]
language sql immutable
as $$
    select array_agg(row(f.kind, f.namespace, f.key, f.value, f.data, f.ts, origin, f.expiration, f.expires_at,
                         f.xid, f.epoch, f.incarnation, f.p, f.n)::kv.feed_row)
    from unnest(page.kinds, page.namespaces, page.keys, page.vals, page.datas, page.stamps, page.expirations,
                page.expiries, page.xids, page.epochs, page.incarnations, page.ps, page.ns)
         f (kind, namespace, key, value, data, ts, expiration, expires_at, xid, epoch, incarnation, p, n)
$$;

create function kv._check_source(us kv_config.running, source int) returns void
language plpgsql stable
as $$
begin
    perform kv._check_reader(source);
    if us.state = 'fenced' then
        raise exception 'shard instance % is older than gc_grace', us.instance_id
            using errcode = 'object_not_in_prerequisite_state', hint = 'Bootstrap it from a peer.';
    end if;
end
$$;

create function kv.link_begin(source int, remote_incarnation uuid, common uuid, common_snapshot pg_snapshot)
returns kv.cursor
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    us kv_config.running := kv._running();
    link kv.peer_status_from;
    begin_at kv.cursor;
begin
    perform kv._check_source(us, source);
    insert into kv.peer_status_from (peer) values (source) on conflict do nothing;
    select * into link from kv.peer_status_from where peer = source for update;
    if common is not null and not exists (
            select from kv.heartbeat_held h where h.peer = source and h.id = common) then
        raise exception 'heartbeat % of peer % is not held here', common, source
            using errcode = 'invalid_parameter_value';
    end if;
    begin_at := row(coalesce(common_snapshot, '1:1:'), null, null, null, null, null, null, null)::kv.cursor;
    -- Heartbeats after the common one are of a history that is gone.
    delete from kv.heartbeat_held h where h.peer = source
        and h.seq > coalesce((select c.seq from kv.heartbeat_held c where c.peer = source and c.id = common), 0);
    update kv.peer_status_from set
        state = 'streaming', incarnation = remote_incarnation, cursor = begin_at, round_clock = null,
        round_beat = null, round_seq = null, round_ts = null, rounds = 0, gc_xid = null,
        verify_due = verify_due or (common is null and link.state = 'streaming'),
        reclaim = case when reclaim_open then begin_at end
    where peer = source;
    if link.incarnation is distinct from remote_incarnation then
        -- What waits here and is not of the common history the source sends again, or does not have.
        delete from kv.deferred d where d.source = link_begin.source
            and not pg_visible_in_snapshot((d.feed_row).xid, begin_at.since);
        delete from kv.quarantine q where q.source = link_begin.source
            and not pg_visible_in_snapshot((q.feed_row).xid, begin_at.since);
        update kv.gc_state set safe = safe - source::text;
    end if;
    -- Rounds count from here, so what kv.gc() waits for begins anew.
    update kv.gc_state set waiting = '{}', rounds = '{}';
    return begin_at;
end
$$;
comment on function kv.link_begin(int, uuid, uuid, pg_snapshot) is
    'Begins a link with what kv.feed_hello returned: back to the newest heartbeat that both have; '
    'without one, to the beginning. Merging a row twice changes nothing.';

create function kv.held(source int, out held uuid[], out numbers bigint[], out times timestamptz[])
language sql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
    select coalesce(array_agg(id order by seq desc), '{}'), coalesce(array_agg(seq order by seq desc), '{}'),
           coalesce(array_agg(ts order by seq desc), '{}')
    from kv.heartbeat_held where peer = source
$$;
comment on function kv.held(int) is 'The heartbeats of a peer that were seen, for kv.feed_hello.';

create function kv.merge(source int, expected kv.cursor, page kv.feed_page,
                         out applied int, out conflicts int, out deferred int, out quarantined int)
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp set lock_timeout = '200ms'
as $$
declare
    us kv_config.running := kv._running();
    link kv.peer_status_from;
    whole boolean := not page.more;
begin
    perform kv._check_source(us, source);
    select * into link from kv.peer_status_from where peer = source for update;
    if link.cursor::text is distinct from expected::text then
        raise exception 'the link from peer % is elsewhere: another replicator serves it', source
            using errcode = 'serialization_failure';
    end if;
    select m.* into applied, conflicts, deferred, quarantined
    from kv._merge_rows(source, kv._rows_of(page, source)) m;
    if (expected).until is null then
        link.round_clock := page.clock;
        link.round_beat := page.heartbeat;
        link.round_seq := page.beat;
        link.round_ts := page.beat_ts;
    end if;
    if whole and link.round_beat is not null then
        insert into kv.heartbeat_held (peer, id, seq, ts, at)
        values (source, link.round_beat, link.round_seq, link.round_ts, kv.clock())
        on conflict do nothing;
    end if;
    update kv.peer_status_from f set
        cursor = page.next, round_clock = link.round_clock, round_beat = link.round_beat, round_seq = link.round_seq, round_ts = link.round_ts,
        rounds = f.rounds + whole::int, gc_xid = page.gc_xid,
        min_horizon = case when whole then link.round_clock else f.min_horizon end,
        merged_at = kv.clock(), skew = page.clock - kv.clock(),
        applied = f.applied + merge.applied, conflicts = f.conflicts + merge.conflicts,
        deferred = f.deferred + merge.deferred, quarantined = f.quarantined + merge.quarantined
    where f.peer = source;
end
$$;
comment on function kv.merge(int, kv.cursor, kv.feed_page) is
    'Writes a page of kv.feed and moves the link''s cursor, in one transaction. Rows that are locked '
    'are deferred, rows that can''t be written are quarantined; everything else is written.';

create function kv.merge_reclaimed(source int, expected kv.cursor, page kv.feed_page) returns boolean
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp set lock_timeout = '200ms'
as $$
declare
    us kv_config.running := kv._running();
begin
    if us.state <> 'fenced' and exists (
            select from kv.peer_status_from
            where peer = source and reclaim_open and reclaim::text is not distinct from expected::text for update) then
        perform kv._merge_rows(source, kv._rows_of(page, us.instance_id));
        update kv.peer_status_from set reclaim = page.next, reclaim_open = page.more where peer = source;
        perform kv._reclaimed();
    end if;
    return page.more;
end
$$;
comment on function kv.merge_reclaimed(int, kv.cursor, kv.feed_page) is
    'Takes rows of this instance back from a peer; after the last page of the last peer clients may write.';

create function kv.acknowledge(source int, out incarnation uuid, out received xid8, out horizon timestamptz)
language sql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
    select f.incarnation,
           least(pg_snapshot_xmin((f.cursor).since),
                 (select min((d.feed_row).xid) from kv.deferred d where d.source = f.peer),
                 (select min((q.feed_row).xid) from kv.quarantine q where q.source = f.peer)),
           f.min_horizon
    from kv.peer_status_from f where f.peer = source
$$;
comment on function kv.acknowledge(int) is
    'What kv.feed_ack of the peer is to be told. Deferred and quarantined rows count as not received.';

create function kv.link_report(source int, new_state text, why text) returns void
language sql security definer set search_path = pg_catalog, kv, pg_temp
as $$
    update kv.peer_status_from set replicator = new_state, replicator_at = kv.clock(), trouble = why
    where peer = source
$$;
comment on function kv.link_report(int, text, text) is
    'Keeps the state of a link as its replicator sees it, for kv_stats.links; why: what is wrong, or NULL.';

create function kv.retry(source int) returns int
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp set lock_timeout = '200ms'
as $$
begin
    return (kv._merge_rows(source, null)).applied;
end
$$;
comment on function kv.retry(int) is 'Tries deferred rows again, if they are due; returns how many were written.';

create function kv_config.quarantine_retry(wanted bigint default null) returns bigint
language sql security definer set search_path = pg_catalog, kv, pg_temp
as $$
    with u as (update kv.quarantine set retry_at = '-infinity' where wanted is null or id = wanted returning 1)
    select count(*) from u
$$;
comment on function kv_config.quarantine_retry(bigint) is
    'Lets the next merge try a row of the quarantine again; NULL: all rows.';

create function kv_config.quarantine_drop(wanted bigint) returns bigint
language sql security definer set search_path = pg_catalog, kv, pg_temp
as $$
    with d as (delete from kv.quarantine where id = wanted returning 1) select count(*) from d
$$;
comment on function kv_config.quarantine_drop(bigint) is
    'Gives a row of the quarantine up: it counts as received, and this instance differs from its peer.';
