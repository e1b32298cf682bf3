-- bootstrap.sql - a new member, or one that was away for longer than gc_grace, copies a member.

create type kv.bootstrap_link as (
    peer int, place kv.cursor, heartbeat uuid, beat bigint, beat_ts timestamptz, horizon timestamptz, gc_horizon timestamptz);

create unlogged table kv.staging of kv.feed_row;

create function kv.bootstrap_links(reader int) returns setof kv.bootstrap_link
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    us kv_config.running := kv._running();
    gone timestamptz := (select g.horizon from kv.gc_state g);
begin
    if not exists (select from kv._active_peers() p where p = reader) then
        raise exception 'peer % is no member', reader using errcode = 'undefined_object';
    end if;
    if current_setting('transaction_isolation') = 'read committed' then
        raise exception 'a bootstrap reads all of one snapshot'
            using errcode = 'active_sql_transaction', hint = 'BEGIN ISOLATION LEVEL REPEATABLE READ';
    end if;
    return query
        select us.instance_id,
               row(pg_current_snapshot(), null, null, null, null, null, null, null)::kv.cursor,
               (select h.id from kv.heartbeat h order by h.seq desc limit 1),
               (select max(h.seq) from kv.heartbeat h), (select max(h.ts) from kv.heartbeat h), kv.clock(), gone
        union all
        select f.peer, f.cursor,
               (select h.id from kv.heartbeat_held h where h.peer = f.peer order by h.seq desc limit 1),
               (select max(h.seq) from kv.heartbeat_held h where h.peer = f.peer),
               (select h.ts from kv.heartbeat_held h where h.peer = f.peer order by h.seq desc limit 1),
               f.min_horizon, gone
        from kv.peer_status_from f where f.peer <> reader and f.state = 'streaming';
end
$$;
comment on function kv.bootstrap_links(int) is
    'Where the links of the new member begin. Call it, and COPY kv.bootstrap_rows() and '
    'kv.bootstrap_waiting(), in one REPEATABLE READ transaction.';

create function kv.bootstrap_rows() returns setof kv.feed_row
language sql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
    select 'k'::"char", t.namespace::text, t.key::text, t.value::text, t.data, t.ts, t.peer, t.expiration::text,
           t.expires_at, t.origin_xid, null::timestamptz, null::uuid, null::bigint, null::bigint
    from kv.t_kv t
    union all
    select 'n'::"char", c.namespace::text, c.key::text, null, null, null, c.peer, null, c.expires_at, c.origin_xid,
           c.epoch, c.incarnation, c.p, c.n
    from kv.t_counter c
$$;
comment on function kv.bootstrap_rows() is 'All rows, for COPY into kv.staging of the new member.';

create function kv.bootstrap_waiting() returns table (source int, feed_row kv.feed_row)
language sql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
    select d.source, d.feed_row from kv.deferred d union all select q.source, q.feed_row from kv.quarantine q
$$;
comment on function kv.bootstrap_waiting() is 'The deferred and quarantined rows, which the cursors are past.';

create function kv.bootstrap_begin() returns void
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    me int := (select instance_id from kv_config.my_info);
begin
    if (select r.state from kv_config.running r) = 'online' and exists (select from kv.t_kv) then
        raise exception 'shard instance % is online and holds rows', me
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'An administrator calls kv_config.give_up() first.';
    end if;
    truncate kv.t_kv, kv.t_counter, kv.deferred, kv.quarantine, kv.heartbeat, kv.heartbeat_held, kv.staging;
    delete from kv.peer_status_from;
    update kv.peer_status_to set ack_xid = null, acked_at = kv.clock(), fenced = false;
    update kv.gc_state set horizon = '-infinity', safe = '{}', waiting = '{}', rounds = '{}';
    perform kv._run(me, gen_random_uuid(), 'fenced');
end
$$;
comment on function kv.bootstrap_begin() is 'Empties this shard instance, before it copies a member.';

create function kv_config.give_up() returns void
language sql set search_path = pg_catalog, kv, pg_temp
as $$ select kv._run(r.instance_id, r.incarnation, 'fenced') from kv_config.running r $$;
comment on function kv_config.give_up() is
    'Refuses writes and merges until this instance is bootstrapped. What no peer has pulled yet is lost.';

create function kv.bootstrap_wait(from_source int, feed_row kv.feed_row) returns void
language sql security definer set search_path = pg_catalog, kv, pg_temp
as $$ select kv._defer(from_source, array[feed_row]) where from_source <> (select instance_id from kv_config.my_info) $$;
comment on function kv.bootstrap_wait(int, kv.feed_row) is 'Takes over a row of kv.bootstrap_waiting.';

create function kv.bootstrap_finish(links kv.bootstrap_link[]) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    me int := (select instance_id from kv_config.my_info);
    start kv.cursor := row('1:1:', null, null, null, null, null, null, null);
begin
    if (select r.state from kv_config.running r) is distinct from 'fenced' then
        raise exception 'no bootstrap has begun' using errcode = 'object_not_in_prerequisite_state';
    end if;
    insert into kv.t_kv (namespace, key, value, data, ts, peer, expiration, expires_at, xid, origin_xid)
    select s.namespace, s.key, s.value::json, s.data, s.ts, s.peer, s.expiration, s.expires_at,
           pg_current_xact_id(), case when s.peer = me then pg_current_xact_id() else s.xid end
    from kv.staging s where s.kind = 'k' order by s.namespace, s.key;
    insert into kv.t_counter (namespace, key, epoch, peer, incarnation, p, n, expires_at, xid, origin_xid)
    select s.namespace, s.key, s.epoch, s.peer, s.incarnation, s.p, s.n, s.expires_at,
           pg_current_xact_id(), case when s.peer = me then pg_current_xact_id() else s.xid end
    from kv.staging s where s.kind = 'n' order by s.namespace, s.key, s.epoch, s.peer, s.incarnation;
    truncate kv.staging;
    insert into kv.peer_status_from (peer, cursor, min_horizon, state)
    select l.peer, l.place, l.horizon, 'new' from unnest(links) l where l.peer in (select kv._active_peers());
    insert into kv.peer_status_from (peer) select * from kv._active_peers() on conflict do nothing;
    insert into kv.heartbeat_held (peer, id, seq, ts, at)
    select l.peer, l.heartbeat, l.beat, l.beat_ts, kv.clock() from unnest(links) l
    where l.heartbeat is not null and l.peer in (select kv._active_peers());
    update kv.gc_state set horizon = (select max(l.gc_horizon) from unnest(links) l);
    -- Rows of this number that only others hold, from its former life.
    update kv.peer_status_from set reclaim_open = true, reclaim = start;
    perform kv._run(me, gen_random_uuid(), 'reclaiming');
    perform kv.heartbeat();
    perform kv._reclaimed();
    return (select r.state from kv_config.running r);
end
$$;
comment on function kv.bootstrap_finish(kv.bootstrap_link[]) is
    'Ends a bootstrap with what the donor''s kv.bootstrap_links returned: rows out of kv.staging, links.';
