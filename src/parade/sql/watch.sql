-- watch.sql - a stream of changes by cursor, with the feed's snapshots: no change is passed over.

-- The members whose versions may be here.
create function kv._origins() returns int[]
language sql stable
as $$
    select array_agg(distinct p order by p) from (
        select instance_id from kv_config.my_info union all select peer from kv_config.peer) o (p)
    where p is not null
$$;

create function kv.watch(ns text, after text default null, max_rows int default 1000)
returns table (cursor text, key text, value json, data bytea, version text)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
#variable_conflict use_column
declare
    kind text := kv._readable(ns);
    us kv_config.running := kv._running();
    began uuid;
    origin int;
    from_origin int;
    place kv.cursor;
    found_row kv.feed_row;
    remaining int := max_rows;
begin
    if max_rows is null or max_rows not between 1 and 10000 then
        raise exception 'a watch returns 1 to 10000 rows, not %', coalesce(max_rows::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    if after is null then
        cursor := kv._watch_cursor(us.incarnation, 0, row(pg_current_snapshot(), null, null, null, null, null, null, null));
        return next;
        return;
    end if;
    began := split_part(after, ' ', 1)::uuid;
    from_origin := split_part(after, ' ', 2)::int;
    place := substr(after, length(split_part(after, ' ', 1)) + length(split_part(after, ' ', 2)) + 3)::kv.cursor;
    if began <> us.incarnation then
        raise exception 'the history of this shard instance may have been cut since the cursor was made'
            using errcode = 'object_not_in_prerequisite_state', hint = 'Read everything again with kv.scan, and begin a new watch before that.';
    end if;
    place.until := coalesce(place.until, pg_current_snapshot());
    foreach origin in array kv._origins() loop
        continue when origin < from_origin;
        if origin > from_origin then
            place := row(place.since, place.until, null, null, null, null, null, null);
        end if;
        for found_row in select * from kv._feed_page(place, origin, null) loop
            if found_row.namespace = ns then
                cursor := kv._watch_cursor(began, origin, row(place.since, place.until, found_row.kind, found_row.xid,
                    found_row.namespace, found_row.key, found_row.epoch, found_row.incarnation));
                key := found_row.key;
                value := case when found_row.kind = 'n' or kind = 'counter' then to_json(kv._count(ns, found_row.key))
                              else found_row.value::json end;
                data := found_row.data;
                version := kv._version(found_row.ts, found_row.peer);
                return next;
                remaining := remaining - 1;
                if remaining = 0 then
                    return;
                end if;
            end if;
        end loop;
    end loop;
    cursor := kv._watch_cursor(began, 0, row(place.until, null, null, null, null, null, null, null));
    key := null; value := null; data := null; version := null;
    return next;
end
$$;
comment on function kv.watch(text, text, int) is
    'Changes of a namespace behind a cursor; NULL: from now on. Of several changes of one key at least '
    'the last is told, deletes with a NULL value. Each row has the cursor behind it. A last row without '
    'key: that is all for now. Expiry is no change.';

create function kv._watch_cursor(incarnation uuid, origin int, place kv.cursor) returns text
language sql stable
as $$ select incarnation || ' ' || origin || ' ' || place::text $$;
