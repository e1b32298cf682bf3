-- counter.sql - counters that several zones may increment at once and none loses.
--
-- Each peer writes cells of its own, and p and n only grow: the greater of two copies is the newer.

-- The epoch that an increment belongs to now: the last delete, or the begin of its expiry window.
create function kv._epoch(ns text, k text, lasting interval, moment timestamptz) returns timestamptz
language sql stable
as $$
    select greatest(
        (select max(t.ts) from kv.t_kv t where t.namespace = ns and t.key = k),
        (select max(case when c.expires_at <= moment then c.expires_at else c.epoch end)
         from kv.t_counter c where c.namespace = ns and c.key = k),
        case when lasting is not null
             then to_timestamp(floor(extract(epoch from moment) / extract(epoch from lasting))
                               * extract(epoch from lasting)) end,
        '-infinity')
$$;

-- NULL: the counter does not exist, or its window is over.
create function kv._count(ns text, k text) returns numeric
language sql stable
as $$
    select sum(c.p::numeric - c.n)
    from kv.t_counter c
    where c.namespace = ns and c.key = k
      and (c.expires_at is null or c.expires_at > kv.clock())
      and c.epoch = (select max(o.epoch) from kv.t_counter o where o.namespace = ns and o.key = k)
      and c.epoch >= coalesce((select t.ts from kv.t_kv t where t.namespace = ns and t.key = k), '-infinity')
$$;

create function kv.incr(ns text, k text, delta bigint default 1, expiration text default null) returns numeric
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context := kv._writable(ns, expiration, true);
    moment timestamptz := kv.clock();
    window_begin timestamptz;
begin
    perform kv._check_type(context, ns, 'counter');
    perform kv._check_key(context, ns, k);
    if delta is null or delta = -9223372036854775808 then
        raise exception 'counter "%" can''t be incremented by %', k, coalesce(delta::text, 'null')
            using errcode = 'numeric_value_out_of_range';
    end if;
    window_begin := kv._epoch(ns, k, context.lasting, moment);
    insert into kv.t_counter as c (namespace, key, epoch, peer, incarnation, p, n, expires_at, xid, origin_xid)
    values (ns, k, window_begin, context.peer, context.incarnation, greatest(delta, 0), greatest(-delta, 0),
            to_timestamp((floor(extract(epoch from moment) / extract(epoch from context.lasting)) + 1)
                         * extract(epoch from context.lasting)),
            pg_current_xact_id(), pg_current_xact_id())
    on conflict (namespace, key, epoch, peer, incarnation) do update
        set p = c.p + excluded.p, n = c.n + excluded.n,
            expires_at = greatest(c.expires_at, excluded.expires_at),
            xid = excluded.xid, origin_xid = excluded.origin_xid;
    return kv._count(ns, k);
end
$$;
comment on function kv.incr(text, text, bigint, text) is
    'Adds to a counter and returns its value as this zone knows it. Increments of all zones add up '
    'exactly. With an expiry class of length L the counter begins again at every multiple of L.';
