-- namespaces.sql - what a call may do in a namespace: existence, rights, types, limits, expiry.

-- The role that a call counts as: SET ROLE's, or the one that logged in.
create function kv._caller() returns name
language sql stable
return case current_setting('role') when 'none' then session_user::name
                                    else current_setting('role')::name end;

create function kv._permit(ns text, writes boolean) returns void
language plpgsql stable
as $$
begin
    if not exists (
            select from kv_config.namespace_grant g join pg_roles r on r.rolname = g.grantee
            where g.namespace = ns and (g.may_write or not writes)
              and pg_has_role(kv._caller(), r.oid, 'member')) then
        raise exception 'permission denied for namespace "%"', ns
            using errcode = 'insufficient_privilege',
                  detail = format('Role "%s" may not %s it.', kv._caller(),
                                  case when writes then 'write' else 'read' end);
    end if;
end
$$;

create function kv._readable(ns text) returns text
language plpgsql stable
as $$
declare
    space kv_config.namespace;
begin
    select * into space from kv_config.namespace n where n.namespace = ns;
    if not found then
        raise exception 'namespace "%" does not exist', ns using errcode = 'undefined_object';
    end if;
    if space.restricted then
        perform kv._permit(ns, false);
    end if;
    return space.value_type;
end
$$;

create type kv._context as (
    peer        int,
    incarnation uuid,
    value_type  text,
    max_key     int,
    max_value   int,
    policy      text,
    lasting     interval    -- NULL: for ever
);

-- Checks that a call may write, and returns what it needs to.  adds: it may add to what is stored.
create function kv._writable(ns text, expiration text, adds boolean) returns kv._context
language plpgsql stable
as $$
declare
    found_row record;
    context kv._context;
begin
    select n.*, r.instance_id, r.incarnation, r.state, u.live_rows, u.bytes into found_row
    from kv_config.namespace n
    left join kv_config.running r on r.xmin = r.xid::xid
    left join kv_stats.usage u on u.namespace = n.namespace
    where n.namespace = ns;
    if not found then
        raise exception 'namespace "%" does not exist', ns using errcode = 'undefined_object';
    end if;
    if found_row.state is distinct from 'online' then
        perform kv._running();
        raise exception 'shard instance % does not accept writes: it is %',
            found_row.instance_id, found_row.state
            using errcode = 'object_not_in_prerequisite_state',
                  hint = case found_row.state when 'reclaiming'
                         then 'Its peers give back what its last crash, failover or restore has lost.'
                         else 'It is older than gc_grace: bootstrap it from a peer.' end;
    end if;
    if found_row.restricted then
        perform kv._permit(ns, true);
    end if;
    if adds and (found_row.live_rows > found_row.quota_rows or found_row.bytes > found_row.quota_bytes) then
        raise exception 'namespace "%" holds % rows and % bytes, its quotas are % and %', ns,
            found_row.live_rows, found_row.bytes, coalesce(found_row.quota_rows::text, 'none'),
            coalesce(found_row.quota_bytes::text, 'none')
            using errcode = 'configuration_limit_exceeded';
    end if;
    context := row(found_row.instance_id, found_row.incarnation, found_row.value_type,
                   found_row.max_key, found_row.max_value,
                   coalesce(expiration, found_row.default_policy), null);
    if context.policy <> 'NO_EXPIRE' then
        select e.time_length into context.lasting from public.expiry_to_interval e
        where e.namespace = ns and e.policy = context.policy;
        if not found then
            raise exception 'namespace "%" has no expiry class "%"', ns, context.policy
                using errcode = 'undefined_object';
        end if;
    end if;
    return context;
end
$$;

create function kv._check_key(context kv._context, ns text, k text) returns void
language plpgsql immutable
as $$
begin
    if k is null then
        raise exception 'a key of namespace "%" is null', ns using errcode = 'null_value_not_allowed';
    end if;
    if octet_length(k) > context.max_key then
        raise exception 'key of % bytes in namespace "%", the limit is %',
            octet_length(k), ns, context.max_key
            using errcode = 'string_data_right_truncation', detail = format('Key: %s…', left(k, 60));
    end if;
end
$$;

create function kv._check_size(context kv._context, ns text, k text, size int) returns void
language plpgsql immutable
as $$
begin
    if size > context.max_value then
        raise exception 'value of % bytes for key "%" of namespace "%", the limit is %',
            size, k, ns, context.max_value using errcode = 'program_limit_exceeded';
    end if;
end
$$;

create function kv._check_type(context kv._context, ns text, variadic wanted text[]) returns void
language plpgsql immutable
as $$
begin
    if not context.value_type = any (wanted) then
        raise exception 'namespace "%" holds %, not %', ns, context.value_type, wanted[1]
            using errcode = 'wrong_object_type',
                  hint = case context.value_type when 'counter' then 'Use kv.incr, kv.get and kv.delete.'
                              when 'bytea' then 'Use kv.put_bytes and kv.get_bytes.'
                              else 'Use kv.put and kv.get.' end;
    end if;
end
$$;
