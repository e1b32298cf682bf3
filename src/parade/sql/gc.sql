-- gc.sql - removal of tombstones and expired rows, when no older version can come back.
--
-- A tombstone goes when (1) it is older than gc_grace, (2) its origin knows that every member has it,
-- and (3) every link here has made two whole rounds since we knew: what was on its way has arrived.

-- The oldest version that waits here; a counter's cell has no ts, so it holds everything back.
create function kv._oldest_waiting() returns timestamptz
language sql stable
as $$
    select min(coalesce((w.feed_row).ts, '-infinity'))
    from (select feed_row from kv.deferred union all select feed_row from kv.quarantine) w
$$;

create function kv._fence() returns int
language plpgsql
as $$
declare
    fenced_now int;
begin
    update kv.peer_status_to t set fenced = true
    from kv_config.peer p
    where p.peer = t.peer and p.state <> 'removed' and not t.fenced
      and t.acked_at < kv.clock() - (select gc_grace from kv_config.setting);
    get diagnostics fenced_now = row_count;
    return fenced_now;
end
$$;

-- Moves what every member holds from waiting to safe.
create function kv._advance_gc() returns void
language plpgsql
as $$
declare
    me int := (select instance_id from kv_config.my_info);
    state kv.gc_state;
    links jsonb;
begin
    select * into state from kv.gc_state for update;
    select coalesce(jsonb_object_agg(f.peer, f.rounds), '{}') into links
    from kv.peer_status_from f join kv._active_peers() p on p = f.peer
    left join kv.peer_status_to t on t.peer = f.peer
    where not coalesce(t.fenced, false);
    if state.waiting <> '{}' and not exists (
            select from jsonb_each_text(links) l
            where state.rounds -> l.key is null or l.value::bigint < (state.rounds ->> l.key)::bigint + 2) then
        state.safe := state.safe || state.waiting;
        state.waiting := '{}';
    end if;
    if state.waiting = '{}' then
        state.rounds := links;
        state.waiting := jsonb_build_object(me, kv._gc_xid()::text)
            || coalesce((select jsonb_object_agg(f.peer, f.gc_xid::text) from kv.peer_status_from f
                         where links ? f.peer::text and f.gc_xid is not null), '{}');
    end if;
    update kv.gc_state set safe = state.safe, waiting = state.waiting, rounds = state.rounds, ran_at = kv.clock();
end
$$;

create function kv._is_safe(safe jsonb, members int[], peer int, xid xid8) returns boolean
language sql immutable
as $$ select case when peer = any (members) then coalesce(xid < (safe ->> peer::text)::xid8, false) else true end $$;

create function kv.gc(max_rows int default 10000, out removed int, out stripped int, out fenced int)
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    us kv_config.running := kv._running();
    members int[] := array(select * from kv._active_peers()) || us.instance_id;
    now_here timestamptz := kv.clock();
    settings kv_config.setting := (select s from kv_config.setting s);
    safe_now jsonb;
    bound timestamptz := least(now_here - settings.gc_grace, kv._oldest_waiting());
    newest timestamptz;
    cells int;
begin
    fenced := kv._fence();
    perform kv._advance_gc();
    select safe into safe_now from kv.gc_state;

    -- An expired row loses its value at once, and becomes a tombstone of the same version.
    update kv.t_kv t set value = null, data = null
    where (t.namespace, t.key) in (
        select e.namespace, e.key from kv.t_kv e
        where e.expires_at < now_here - 2 * settings.max_skew and (e.value is not null or e.data is not null)
        order by e.expires_at limit max_rows for update skip locked);
    get diagnostics stripped = row_count;

    with gone as (
        delete from kv.t_kv t
        where (t.namespace, t.key) in (
            select e.namespace, e.key from kv.t_kv e
            where e.value is null and e.data is null and e.ts < bound
              and (e.expires_at is null or e.expires_at < bound)
              and kv._is_safe(safe_now, members, e.peer, e.origin_xid)
            order by e.ts limit max_rows for update skip locked)
        returning t.namespace, t.key, t.ts),
    dead as (
        delete from kv.t_counter c using gone g
        where c.namespace = g.namespace and c.key = g.key and c.epoch < g.ts returning 1)
    select count(*), max(ts), (select count(*) from dead) into removed, newest, cells from gone;

    -- The cells of windows that are over, and whatever is older of the same counters.
    with over as (
        select c.namespace, c.key, max(c.epoch) as epoch from kv.t_counter c
        where c.expires_at < bound and kv._is_safe(safe_now, members, c.peer, c.origin_xid)
        group by c.namespace, c.key limit max_rows)
    delete from kv.t_counter c using over o
    where c.namespace = o.namespace and c.key = o.key and c.epoch <= o.epoch;

    update kv.gc_state g set horizon = greatest(g.horizon, newest);
end
$$;
comment on function kv.gc(int) is
    'Removes what may be removed, at most max_rows of each kind, and fences members that were silent '
    'for gc_grace. Takes effect from the third call on, with whole rounds of all links in between.';

create function kv.clean_up_nulls() returns int
language sql security definer set search_path = pg_catalog, kv, pg_temp
as $$ select (kv.gc(100000)).removed $$;
comment on function kv.clean_up_nulls() is 'The forerunner''s name of kv.gc.';
