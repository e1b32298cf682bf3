-- verify.sql - whether two members hold the same, and repair where they do not.

-- The place of a key among 16384 slots; resharding will move slots.
create function kv._slot(ns text, k text) returns int
language sql immutable
return ('x' || substr(md5(ns || chr(1) || k), 1, 4))::bit(16)::int >> 2;

create function kv.slot(ns text, k text) returns int
language sql immutable security definer set search_path = pg_catalog, pg_temp
as $$ select kv._slot(ns, k) $$;
comment on function kv.slot(text, text) is 'The first 14 bits of the md5 of namespace, chr(1) and key.';

-- What a reader can see of a row at a moment, as text.
create function kv._row_digest(t kv.t_kv) returns bigint
language sql immutable
return ('x' || substr(md5(t.namespace || chr(1) || t.key || chr(1) || kv._version(t.ts, t.peer) || chr(1)
                          || kv._rank(t.value::text, t.data, t.expires_at)), 1, 16))::bit(64)::bigint;

create function kv._live_cells(as_of timestamptz) returns setof kv.t_counter
language sql stable
as $$
    select c.* from kv.t_counter c
    join (select o.namespace, o.key, max(o.epoch) as epoch from kv.t_counter o group by o.namespace, o.key) n
      on n.namespace = c.namespace and n.key = c.key and n.epoch = c.epoch
    left join kv.t_kv t on t.namespace = c.namespace and t.key = c.key
    where (c.expires_at is null or c.expires_at > as_of) and c.epoch >= coalesce(t.ts, '-infinity')
$$;

create function kv._cell_digest(c kv.t_counter) returns bigint
language sql immutable
return ('x' || substr(md5(c.namespace || chr(1) || c.key || chr(1) || extract(epoch from c.epoch) || chr(1)
                          || c.peer || chr(1) || c.incarnation || chr(1) || c.p || chr(1) || c.n), 1, 16))::bit(64)::bigint;

create function kv.verify(as_of timestamptz default null)
returns table (bucket int, live_rows bigint, digest text)
language sql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
    select h.slot >> 4, count(*), to_hex(bit_xor(h.digest))
    from (select kv._slot(t.namespace, t.key) as slot, kv._row_digest(t) as digest from kv.t_kv t
          where (t.value is not null or t.data is not null)
            and (t.expires_at is null or t.expires_at > coalesce(as_of, kv.clock()))
          union all
          select kv._slot(c.namespace, c.key), kv._cell_digest(c)
          from kv._live_cells(coalesce(as_of, kv.clock())) c) h
    group by 1
$$;
comment on function kv.verify(timestamptz) is
    'Count and digest of what exists at a moment, by 1024 buckets of keys. Equal in all members when '
    'all that was written has arrived.';

-- All rows of some buckets: what the other member needs for kv.repair.
create function kv.repair_page(buckets int[], out horizon timestamptz, out page kv.feed_row[])
language sql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
    select (select g.horizon from kv.gc_state g), array_agg(r)
    from (select row('k', t.namespace, t.key, t.value, t.data, t.ts, t.peer, t.expiration, t.expires_at,
                     t.origin_xid, null, null, null, null)::kv.feed_row
          from kv.t_kv t where kv._slot(t.namespace, t.key) >> 4 = any (buckets)
          union all
          select row('n', c.namespace, c.key, null, null, null, c.peer, null, c.expires_at, c.origin_xid,
                     c.epoch, c.incarnation, c.p, c.n)::kv.feed_row
          from kv._live_cells('-infinity') c where kv._slot(c.namespace, c.key) >> 4 = any (buckets)) a (r)
$$;
comment on function kv.repair_page(int[]) is 'The rows of some buckets of kv.verify, for kv.repair of another member.';

create function kv.repair(source int, buckets int[], their_horizon timestamptz, page kv.feed_row[],
                          dry_run boolean default false, out copied int, out deleted int)
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp set lock_timeout = '200ms'
as $$
declare
    us kv_config.running := kv._running();
    ours timestamptz := (select g.horizon from kv.gc_state g);
    wanted kv.feed_row[];
begin
    perform kv._check_source(us, source);
    -- What only they have and is older than our horizon was deleted here.
    select array_agg(f) into wanted from unnest(page) f
    where f.kind = 'n' or f.ts > ours
       or exists (select from kv.t_kv t where t.namespace = f.namespace and t.key = f.key);
    if dry_run then
        copied := (select count(*) from unnest(wanted) f left join kv.t_kv t on t.namespace = f.namespace and t.key = f.key
                   where f.kind = 'k' and (t.key is null or (f.ts, f.peer) > (t.ts, t.peer)));
    else
        copied := (kv._merge_rows(source, wanted)).applied;
    end if;
    -- What only we have and is older than their horizon was deleted there.
    with absent as (
        select t.namespace, t.key, t.ts, t.peer from kv.t_kv t
        where kv._slot(t.namespace, t.key) >> 4 = any (buckets) and t.ts <= their_horizon
          and (t.value is not null or t.data is not null)
          and not exists (select from unnest(page) f where f.kind = 'k' and f.namespace = t.namespace and f.key = t.key)),
    gone as (
        delete from kv.t_kv t using absent a
        where not dry_run and (t.namespace, t.key, t.ts, t.peer) = (a.namespace, a.key, a.ts, a.peer) returning 1)
    select case when dry_run then (select count(*) from absent) else (select count(*) from gone) end into deleted;
end
$$;
comment on function kv.repair(int, int[], timestamptz, kv.feed_row[], boolean) is
    'Makes these buckets equal to another member''s, given its kv.repair_page; called on both, both are '
    'equal. A row that one side only has and that is older than the other side''s GC horizon is '
    'deleted: there it was deleted long ago. dry_run counts only.';
