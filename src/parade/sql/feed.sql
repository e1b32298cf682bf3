-- feed.sql - what a peer pulls: rows that its last snapshot did not see and the present one does.
--
-- A batch waits for no open transaction: only the rows of open transactions wait.

-- A page of the rows of one origin, of transactions behind `low` and before `high`.
create function kv._feed_rows(origin int, until pg_snapshot, high xid8, low xid8,
                              low_namespace text, low_key text, page int)
returns setof kv.feed_row
language sql stable
as $$
    select 'k'::"char", t.namespace::text, t.key::text, t.value::text, t.data, t.ts, t.peer,
           t.expiration::text, t.expires_at, t.xid, null::timestamptz, null::uuid, null::bigint, null::bigint
    from kv.t_kv t
    where t.peer = origin and (t.xid, t.namespace, t.key) > (low, low_namespace, low_key) and t.xid < high
      and pg_visible_in_snapshot(t.xid, until)
    order by t.xid, t.namespace, t.key
    limit page
$$;

create function kv._feed_cells(origin int, until pg_snapshot, high xid8, low xid8,
                               low_namespace text, low_key text, low_epoch timestamptz,
                               low_incarnation uuid, page int)
returns setof kv.feed_row
language sql stable
as $$
    select 'n'::"char", t.namespace::text, t.key::text, null::text, null::bytea, null::timestamptz, t.peer,
           null::text, t.expires_at, t.xid, t.epoch, t.incarnation, t.p, t.n
    from kv.t_counter t
    where t.peer = origin and t.xid < high
      and (t.xid, t.namespace, t.key, t.epoch, t.incarnation)
          > (low, low_namespace, low_key, low_epoch, low_incarnation)
      and pg_visible_in_snapshot(t.xid, until)
    order by t.xid, t.namespace, t.key, t.epoch, t.incarnation
    limit page
$$;

create function kv._feed_part(position_now kv.cursor, part "char", origin int, low xid8, high xid8, page int)
returns setof kv.feed_row
language plpgsql stable rows 1000
as $$
declare
    inside boolean := position_now.kind = part and position_now.xid >= low;
    first xid8 := case when inside then position_now.xid else low end;
    ns text := case when inside then position_now.namespace else '' end;
    k text := case when inside then position_now.key else '' end;
begin
    if first >= high then
        return;
    end if;
    if part = 'k' then
        return query select * from kv._feed_rows(origin, position_now.until, high, first, ns, k, page);
    else
        return query select * from kv._feed_cells(
            origin, position_now.until, high, first, ns, k,
            case when inside then position_now.epoch else '-infinity' end,
            case when inside then position_now.incarnation
                 else '00000000-0000-0000-0000-000000000000'::uuid end, page);
    end if;
end
$$;

-- The rows behind a position: of each transaction that was open in `since`, in the order of their
-- ids, then of those that began after it.  Index look-ups, then an index range.
create function kv._feed_page(position_now kv.cursor, origin int, page int)
returns setof kv.feed_row
language plpgsql stable rows 1000
as $$
declare
    remaining int := page;
    got int;
    part "char";
    open_then xid8;
begin
    foreach part in array case when position_now.kind = 'n' then '{n}'::"char"[] else '{k,n}'::"char"[] end
    loop
        for open_then in select x from pg_snapshot_xip(position_now.since) x
                         where pg_visible_in_snapshot(x, position_now.until) order by x
        loop
            if position_now.kind is distinct from part or position_now.xid <= open_then then
                return query select * from kv._feed_part(
                    position_now, part, origin, open_then, (open_then::text::bigint + 1)::text::xid8, remaining);
                get diagnostics got = row_count;
                remaining := remaining - got;
                if remaining = 0 then
                    return;
                end if;
            end if;
        end loop;
        return query select * from kv._feed_part(
            position_now, part, origin, pg_snapshot_xmax(position_now.since),
            pg_snapshot_xmax(position_now.until), remaining);
        get diagnostics got = row_count;
        remaining := remaining - got;
        if remaining = 0 then
            return;
        end if;
    end loop;
end
$$;

-- What kv.feed returns and kv.merge takes, column by column.
create type kv.feed_page as (
    rows         int,
    more         boolean,       -- ask again at once: the round is not over
    next         kv.cursor,
    clock        timestamptz,   -- of the source
    heartbeat    uuid,          -- the newest that the snapshot sees
    beat         bigint,        -- its number
    beat_ts      timestamptz,
    gc_xid       xid8,          -- every member holds what the source wrote below
    kinds        "char"[],
    namespaces   text[],
    keys         text[],
    vals         text[],
    datas        bytea[],
    stamps       timestamptz[],
    expirations  text[],
    expiries     timestamptz[],
    xids         xid8[],
    epochs       timestamptz[],
    incarnations uuid[],
    ps           bigint[],
    ns           bigint[]
);

create function kv._gc_xid() returns xid8
language sql stable
as $$
    select coalesce(
        case when bool_or(t.ack_xid is null) then '0'::xid8 else min(t.ack_xid) end,
        pg_snapshot_xmin(pg_current_snapshot()))
    from kv._active_peers() p left join kv.peer_status_to t on t.peer = p
    where not coalesce(t.fenced, false)
$$;

create function kv._check_reader(reader int) returns void
language plpgsql stable
as $$
begin
    if not exists (select from kv._active_peers() p where p = reader) then
        raise exception 'peer % is no member', reader using errcode = 'undefined_object';
    end if;
    if (select fenced from kv.peer_status_to where peer = reader) then
        raise exception 'peer % is fenced: it acknowledged nothing for longer than gc_grace', reader
            using errcode = 'object_not_in_prerequisite_state', hint = 'Bootstrap it from a member.';
    end if;
end
$$;

create function kv.feed_hello(reader int, held uuid[], numbers bigint[], times timestamptz[],
    out instance_id int, out incarnation uuid, out state text, out clock timestamptz,
    out common uuid, out common_snapshot pg_snapshot, out schema_version int)
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    us kv_config.running := kv._running();
begin
    perform kv._check_reader(reader);
    -- A heartbeat of this incarnation that we do not have: the history was cut without a trace here,
    -- as when a copy of a cluster that had been shut down was put back.
    if exists (select from unnest(held, numbers, times) u (id, seq, ts)
               where u.ts > us.since
                 and (u.seq > coalesce((select max(h.seq) from kv.heartbeat h), 0)
                  or exists (select from kv.heartbeat h where h.seq = u.seq and h.id <> u.id))) then
        delete from kv_config.running;
        us.state := 'cut';
    end if;
    instance_id := us.instance_id;
    incarnation := us.incarnation;
    state := us.state;
    clock := kv.clock();
    select h.id, h.snapshot into common, common_snapshot
    from kv.heartbeat h where h.id = any (held) order by h.seq desc limit 1;
    schema_version := (select max(version) from kv_config.schema_version);
end
$$;
comment on function kv.feed_hello(int, uuid[], bigint[], timestamptz[]) is
    'Begins a link: which of the reader''s heartbeats this instance still has. What was older than the '
    'newest of them is the same history; the reader pulls everything after it again. State cut: the '
    'reader holds heartbeats that were lost here without a crash; kv.recover() must be called.';

create function kv.feed(reader int, expected uuid, origin int, after kv.cursor,
                        max_rows int default 5000, max_bytes bigint default 4194304) returns kv.feed_page
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    us kv_config.running := kv._running();
    position_now kv.cursor := after;
    page kv.feed_page;
begin
    perform kv._check_reader(reader);
    if us.incarnation <> expected or us.state = 'fenced' then
        raise exception 'the history of peer % may have been cut', us.instance_id
            using errcode = 'object_not_in_prerequisite_state', hint = 'Begin the link again: kv.feed_hello().';
    end if;
    position_now.until := coalesce(after.until, pg_current_snapshot());
    select count(*)::int, array_agg(f.kind), array_agg(f.namespace), array_agg(f.key), array_agg(f.value),
           array_agg(f.data), array_agg(f.ts), array_agg(f.expiration), array_agg(f.expires_at), array_agg(f.xid),
           array_agg(f.epoch), array_agg(f.incarnation), array_agg(f.p), array_agg(f.n)
    into page.rows, page.kinds, page.namespaces, page.keys, page.vals,
         page.datas, page.stamps, page.expirations, page.expiries, page.xids,
         page.epochs, page.incarnations, page.ps, page.ns
    from (select r.*, row_number() over w as place,
                 sum(coalesce(octet_length(r.value), 0) + coalesce(length(r.data), 0) + 100) over w as bytes
          from kv._feed_page(position_now, origin, max_rows) r
          window w as (rows between unbounded preceding and current row)) f
    where f.place = 1 or f.bytes <= max_bytes;
    page.clock := kv.clock();
    page.gc_xid := kv._gc_xid();
    select h.id, h.seq, h.ts into page.heartbeat, page.beat, page.beat_ts from kv.heartbeat h order by h.seq desc limit 1;
    page.more := page.rows = max_rows
        or (page.rows > 0 and exists (
            select from kv._feed_page(kv._behind(position_now, page), origin, 1)));
    page.next := case when page.more then kv._behind(position_now, page)
                      else row(position_now.until, null, null, null, null, null, null, null)::kv.cursor end;
    return page;
end
$$;
comment on function kv.feed(int, uuid, int, kv.cursor, int, bigint) is
    'The next page of the rows whose versions `origin` wrote, behind a cursor. A row is never passed '
    'over: a transaction that is still open is looked up again until it has ended.';

create function kv._behind(position_now kv.cursor, page kv.feed_page) returns kv.cursor
language sql immutable
return row(position_now.since, position_now.until, page.kinds[page.rows], page.xids[page.rows],
           page.namespaces[page.rows], page.keys[page.rows], page.epochs[page.rows],
           page.incarnations[page.rows])::kv.cursor;

create function kv.feed_ack(reader int, expected uuid, received xid8, horizon timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    us kv_config.running := kv._running();
begin
    perform kv._check_reader(reader);
    if us.incarnation <> expected then
        raise exception 'the history of peer % may have been cut', us.instance_id
            using errcode = 'object_not_in_prerequisite_state', hint = 'Begin the link again: kv.feed_hello().';
    end if;
    insert into kv.peer_status_to (peer, min_horizon, ack_xid, acked_at)
    values (reader, horizon, received, kv.clock())
    on conflict (peer) do update set min_horizon = excluded.min_horizon, ack_xid = excluded.ack_xid,
                                     acked_at = excluded.acked_at;
end
$$;
comment on function kv.feed_ack(int, uuid, xid8, timestamptz) is
    'A peer holds all rows of ours that were written by transactions below `received`.';
