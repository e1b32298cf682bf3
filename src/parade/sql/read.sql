-- read.sql - what clients read.  Deleted and expired keys do not exist for them.

create function kv.get(ns text, k text, out v json)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
begin
    case kv._readable(ns)
    when 'counter' then
        v := to_json(kv._count(ns, k));
    when 'bytea' then
        raise exception 'namespace "%" holds bytea, not json', ns
            using errcode = 'wrong_object_type', hint = 'Use kv.get_bytes.';
    else
        select t.value into v from kv.t_kv t
        where t.namespace = ns and t.key = k and (t.expires_at is null or t.expires_at > kv.clock());
    end case;
end
$$;
comment on function kv.get(text, text) is
    'The value, or NULL if the key is missing, deleted or expired. A counter''s value is a number.';

create function kv.get_bytes(ns text, k text, out v bytea)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
begin
    if kv._readable(ns) <> 'bytea' then
        raise exception 'namespace "%" does not hold bytea', ns
            using errcode = 'wrong_object_type', hint = 'Use kv.get.';
    end if;
    select t.data into v from kv.t_kv t
    where t.namespace = ns and t.key = k and (t.expires_at is null or t.expires_at > kv.clock());
end
$$;
comment on function kv.get_bytes(text, text) is 'kv.get for namespaces that hold bytea.';

create function kv.get_version(ns text, k text, out value json, out data bytea, out version text,
                               out expires_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
begin
    perform kv._readable(ns);
    select t.value, t.data, kv._version(t.ts, t.peer), t.expires_at into value, data, version, expires_at
    from kv.t_kv t
    where t.namespace = ns and t.key = k and (t.value is not null or t.data is not null)
      and (t.expires_at is null or t.expires_at > kv.clock());
end
$$;
comment on function kv.get_version(text, text) is
    'The value and its version, for kv.put_if. All are NULL if the key does not exist.';

create function kv.mget(ns text, keys text[])
returns table (key text, value json, data bytea)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
#variable_conflict use_column
declare
    kind text := kv._readable(ns);
begin
    if kind = 'counter' then
        return query select u.k, to_json(kv._count(ns, u.k)), null::bytea
                     from unnest(keys) with ordinality u (k, place) order by place;
    else
        return query
            select u.k, t.value, t.data
            from unnest(keys) with ordinality u (k, place)
            left join kv.t_kv t on t.namespace = ns and t.key = u.k
                 and (t.expires_at is null or t.expires_at > kv.clock())
            order by place;
    end if;
end
$$;
comment on function kv.mget(text, text[]) is
    'One row per asked key, in the order asked, of one snapshot; value and data NULL: it does not exist.';

create function kv.scan(ns text, prefix text default '', after text default null, max_rows int default 100)
returns table (key text, value json, data bytea)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
#variable_conflict use_column
declare
    kind text := kv._readable(ns);
    -- The greatest key that may begin with the prefix: keys have 1024 bytes at most.
    last_key text := prefix || repeat(chr(1114111), 256);
begin
    if max_rows is null or max_rows not between 1 and 10000 then
        raise exception 'a scan returns 1 to 10000 rows, not %', coalesce(max_rows::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    if kind = 'counter' then
        return query
            select c.key::text, to_json(kv._count(ns, c.key)), null::bytea
            from (select distinct o.key from kv.t_counter o
                  where o.namespace = ns and (after is null or o.key > after) and o.key >= prefix
                    and o.key <= last_key and kv._count(ns, o.key) is not null
                  order by o.key limit max_rows) c
            order by c.key;
    else
        return query
            select t.key::text, t.value, t.data from kv.t_kv t
            where t.namespace = ns and (after is null or t.key > after) and t.key >= prefix
              and t.key <= last_key and (t.value is not null or t.data is not null)
              and (t.expires_at is null or t.expires_at > kv.clock())
            order by t.key limit max_rows;
    end if;
end
$$;
comment on function kv.scan(text, text, text, int) is
    'Keys with a prefix behind a key, in the order of their bytes. Ask again with the last key as after.';

create function kv.ttl(ns text, k text, out remaining interval)
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
begin
    perform kv._readable(ns);
    select t.expires_at - kv.clock() into remaining from kv.t_kv t
    where t.namespace = ns and t.key = k and (t.value is not null or t.data is not null)
      and t.expires_at > kv.clock();
end
$$;
comment on function kv.ttl(text, text) is
    'How long the key will exist; NULL: it does not exist, or it does not expire.';
