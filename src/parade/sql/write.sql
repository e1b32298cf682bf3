-- write.sql - what clients write.  A local write always wins over the version that it finds here.

-- Writes one version, later than `behind`; returns INSERT or UPDATE.
create function kv._write(context kv._context, ns text, k text, new_value json, new_data bytea,
                          behind timestamptz default null) returns text
language plpgsql
as $$
declare
    inserted boolean;
    moment timestamptz := greatest(kv.clock(), behind + interval '1 microsecond');
begin
    insert into kv.t_kv as t (namespace, key, value, data, ts, peer, expiration, expires_at, xid, origin_xid)
    values (ns, k, new_value, new_data, moment, context.peer, context.policy, moment + context.lasting,
            pg_current_xact_id(), pg_current_xact_id())
    on conflict (namespace, key) do update
        set value = excluded.value, data = excluded.data,
            ts = greatest(excluded.ts, t.ts + interval '1 microsecond'),
            peer = excluded.peer, expiration = excluded.expiration, expires_at = excluded.expires_at,
            xid = excluded.xid, origin_xid = excluded.origin_xid
    returning xmax = 0 into inserted;
    return case when inserted then 'INSERT' else 'UPDATE' end;
end
$$;

-- A client's text as the json that its namespace stores.
create function kv._json(context kv._context, ns text, k text, v text) returns json
language plpgsql immutable
as $$
declare
    stored json;
begin
    perform kv._check_size(context, ns, k, octet_length(v));
    stored := case context.value_type when 'jsonb' then v::jsonb::text::json else v::json end;
    perform kv._check_size(context, ns, k, octet_length(stored::text));
    return stored;
end
$$;

create function kv.put(ns text, k text, v text, expiration text default null) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context;
    inserted boolean;
begin
    -- The common case in one statement: json without expiry in an open namespace without quotas.
    insert into kv.t_kv as t (namespace, key, value, ts, peer, xid, origin_xid)
    select n.namespace, k, v::json, kv.clock(), r.instance_id, pg_current_xact_id(), pg_current_xact_id()
    from kv_config.running r, kv_config.namespace n
    where n.namespace = ns and r.xmin = r.xid::xid and r.state = 'online' and n.value_type = 'json'
      and not n.restricted and n.quota_rows is null and n.quota_bytes is null
      and coalesce(expiration, n.default_policy) = 'NO_EXPIRE'
      and octet_length(k) <= n.max_key and octet_length(v) <= n.max_value
    on conflict (namespace, key) do update
        set value = excluded.value, data = null,
            ts = greatest(excluded.ts, t.ts + interval '1 microsecond'),
            peer = excluded.peer, expiration = 'NO_EXPIRE', expires_at = null,
            xid = excluded.xid, origin_xid = excluded.origin_xid
    returning xmax = 0 into inserted;
    if found then
        return case when inserted then 'INSERT' else 'UPDATE' end;
    end if;
    context := kv._writable(ns, expiration, v is not null);
    if v is null then
        return kv._delete(context, ns, k);
    end if;
    perform kv._check_type(context, ns, 'json', 'jsonb');
    perform kv._check_key(context, ns, k);
    return kv._write(context, ns, k, kv._json(context, ns, k, v), null);
end
$$;
comment on function kv.put(text, text, text, text) is
    'Stores json. Returns INSERT if the shard had no row of the key, else UPDATE. The version is newer '
    'than the one found here. A put in another zone at the same time may win: the later clock does. '
    'NULL deletes. expiration: a class of the namespace, NO_EXPIRE, or NULL for its default.';

create function kv.put_bytes(ns text, k text, v bytea, expiration text default null) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context := kv._writable(ns, expiration, v is not null);
begin
    if v is null then
        return kv._delete(context, ns, k);
    end if;
    perform kv._check_type(context, ns, 'bytea');
    perform kv._check_key(context, ns, k);
    perform kv._check_size(context, ns, k, length(v));
    return kv._write(context, ns, k, null, v);
end
$$;
comment on function kv.put_bytes(text, text, bytea, text) is 'kv.put for namespaces that hold bytea.';

create function kv._delete(context kv._context, ns text, k text) returns text
language plpgsql
as $$
begin
    perform kv._check_key(context, ns, k);
    context.policy := 'NO_EXPIRE';
    context.lasting := null;
    return kv._write(context, ns, k, null, null, case context.value_type when 'counter' then
        (select max(c.epoch) from kv.t_counter c where c.namespace = ns and c.key = k and c.epoch > '-infinity') end);
end
$$;

create function kv.delete(ns text, k text) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
begin
    return kv._delete(kv._writable(ns, 'NO_EXPIRE', false), ns, k);
end
$$;
comment on function kv.delete(text, text) is
    'Writes a tombstone, for a missing key too (INSERT). A counter begins again at zero; increments '
    'that other zones make before they see the delete are deleted with it.';

create function kv.mput(ns text, keys text[], vals text[], expiration text default null)
returns table (key text, result text)
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
#variable_conflict use_column
declare
    context kv._context := kv._writable(ns, expiration, true);
    pair record;
begin
    perform kv._check_type(context, ns, 'json', 'jsonb');
    if coalesce(cardinality(keys), 0) <> coalesce(cardinality(vals), 0) then
        raise exception '% keys and % values', coalesce(cardinality(keys), 0), coalesce(cardinality(vals), 0)
            using errcode = 'array_subscript_error';
    end if;
    for pair in select u.k, u.v from unnest(keys, vals) with ordinality u (k, v, place)
                order by u.k collate "C", u.place
    loop
        perform kv._check_key(context, ns, pair.k);
        key := pair.k;
        result := case when pair.v is null then kv._delete(context, ns, pair.k)
                       else kv._write(context, ns, pair.k, kv._json(context, ns, pair.k, pair.v), null) end;
        return next;
    end loop;
end
$$;
comment on function kv.mput(text, text[], text[], text) is
    'Stores many keys, all or none, in the order of the keys: two calls can''t block each other for ever.';

-- The live version of a key, locked until the end of the transaction; none: version NULL.
create function kv._locked(ns text, k text, out present boolean, out version text, out value json, out data bytea,
                           out expiration text, out expires_at timestamptz)
language plpgsql
as $$
declare
    found_row kv.t_kv;
begin
    select * into found_row from kv.t_kv t where t.namespace = ns and t.key = k for update;
    present := found;
    if found and (found_row.value is not null or found_row.data is not null)
       and (found_row.expires_at is null or found_row.expires_at > kv.clock()) then
        version := kv._version(found_row.ts, found_row.peer);
        value := found_row.value;
        data := found_row.data;
        expiration := found_row.expiration;
        expires_at := found_row.expires_at;
    end if;
end
$$;

-- Writes the first row of a key; false: another session was quicker.
create function kv._write_first(context kv._context, ns text, k text, new_value json, new_data bytea) returns boolean
language plpgsql
as $$
declare
    moment timestamptz := kv.clock();
begin
    insert into kv.t_kv (namespace, key, value, data, ts, peer, expiration, expires_at, xid, origin_xid)
    values (ns, k, new_value, new_data, moment, context.peer, context.policy, moment + context.lasting,
            pg_current_xact_id(), pg_current_xact_id())
    on conflict do nothing;
    return found;
end
$$;

create function kv._put_if(context kv._context, ns text, k text, new_value json, new_data bytea,
                           expected text) returns text
language plpgsql
as $$
declare
    current_row record;
begin
    perform kv._check_key(context, ns, k);
    loop
        current_row := kv._locked(ns, k);
        if current_row.version is distinct from expected then
            return 'CONFLICT';
        end if;
        if current_row.present then
            return kv._write(context, ns, k, new_value, new_data);
        end if;
        if kv._write_first(context, ns, k, new_value, new_data) then
            return 'INSERT';
        end if;
    end loop;
end
$$;

create function kv.put_if(ns text, k text, v text, expected text, expiration text default null) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context := kv._writable(ns, expiration, v is not null);
begin
    perform kv._check_type(context, ns, 'json', 'jsonb');
    return kv._put_if(context, ns, k, kv._json(context, ns, k, v), null, expected);
end
$$;
comment on function kv.put_if(text, text, text, text, text) is
    'Stores json (or deletes: NULL) if the key still has the version that kv.get_version returned; '
    'NULL: if it does not exist. Else returns CONFLICT and writes nothing. Of two such calls in one '
    'zone at most one succeeds; calls in different zones may both, and the later clock wins.';

create function kv.put_bytes_if(ns text, k text, v bytea, expected text, expiration text default null) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context := kv._writable(ns, expiration, v is not null);
begin
    perform kv._check_type(context, ns, 'bytea');
    perform kv._check_size(context, ns, k, length(v));
    return kv._put_if(context, ns, k, null, v, expected);
end
$$;
comment on function kv.put_bytes_if(text, text, bytea, text, text) is 'kv.put_if for namespaces that hold bytea.';

create function kv.touch(ns text, k text, expiration text default null) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context := kv._writable(ns, expiration, false);
    current_row record;
begin
    perform kv._check_type(context, ns, 'json', 'jsonb', 'bytea');
    perform kv._check_key(context, ns, k);
    current_row := kv._locked(ns, k);
    if current_row.version is null then
        return null;
    end if;
    return kv._write(context, ns, k, current_row.value, current_row.data);
end
$$;
comment on function kv.touch(text, text, text) is
    'Gives the value a new expiry, as a new version. Returns UPDATE, or NULL if the key does not exist.';

create function kv._json_patch_numeric(old json, new json) returns json
language plpgsql immutable
as $$
declare
    wrong text;
begin
    if json_typeof(new) <> 'object' or json_typeof(old) <> 'object' then
        raise exception 'a numeric patch needs objects, not %',
            case when json_typeof(new) <> 'object' then json_typeof(new) else json_typeof(old) end
            using errcode = 'invalid_parameter_value';
    end if;
    select key into wrong from json_each(new) p
    where json_typeof(p.value) not in ('number', 'null')
       or (json_typeof(p.value) = 'number' and json_typeof(old -> p.key) not in ('number', 'null'))
    limit 1;
    if found then
        raise exception 'field "%" is not a number', wrong using errcode = 'invalid_parameter_value';
    end if;
    return (select coalesce(json_object_agg(key, value order by key), '{}')
            from (select o.key,
                         case when p.key is null then o.value
                              else to_json((o.value #>> '{}')::numeric + (p.value #>> '{}')::numeric) end as value
                  from json_each(old) o left join json_each(new) p on p.key = o.key
                  where p.key is null or json_typeof(p.value) = 'number' and json_typeof(o.value) = 'number'
                  union all
                  select p.key, p.value from json_each(new) p
                  where json_typeof(p.value) = 'number'
                    and coalesce(json_typeof(old -> p.key), 'null') = 'null') fields);
end
$$;

create function kv.patch_numeric(ns text, k text, v text, expiration text default null) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    context kv._context := kv._writable(ns, expiration, true);
    patch json;
    current_row record;
    patched json;
begin
    perform kv._check_type(context, ns, 'json', 'jsonb');
    perform kv._check_key(context, ns, k);
    patch := kv._json(context, ns, k, v);
    loop
        current_row := kv._locked(ns, k);
        patched := case when current_row.version is null then patch
                        else kv._json_patch_numeric(current_row.value, patch) end;
        patched := kv._json(context, ns, k, patched::text);
        if current_row.present then
            return kv._write(context, ns, k, patched, null);
        end if;
        if kv._write_first(context, ns, k, patched, null) then
            return 'INSERT';
        end if;
    end loop;
end
$$;
comment on function kv.patch_numeric(text, text, text, text) is
    'Adds numbers field by field; null in the patch removes the field; a missing key gets the patch as '
    'it is. Exact within a zone. Of patches in two zones at once one is lost: use kv.incr there.';
