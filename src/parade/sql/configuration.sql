-- configuration.sql - one configuration for the whole parade, carried from catalog to catalog and
-- from a catalog to its shards as one document with a version. Every transfer may be repeated.

create function kv_config.export_config() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    document jsonb;
begin
    select jsonb_build_object(
        'version', p.version, 'ts', p.ts, 'origin', p.origin,
        'setting', (select to_jsonb(s) from kv_config.setting s),
        'namespace', (select coalesce(jsonb_agg(to_jsonb(n) order by n.namespace), '[]') from kv_config.namespace n),
        'namespace_grant', (select coalesce(jsonb_agg(to_jsonb(g) order by g.namespace, g.grantee), '[]')
                            from kv_config.namespace_grant g),
        'expiry_to_interval', (select coalesce(jsonb_agg(to_jsonb(e) order by e.namespace, e.policy), '[]')
                               from public.expiry_to_interval e))
    into document from public.last_config_push p;
    return document || kv_config._export_topology();
end
$$;
comment on function kv_config.export_config() is 'The configuration as one document.';

create function kv_config.import_config(document jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    here public.last_config_push;
begin
    select * into here from public.last_config_push for update;
    if ((document ->> 'version')::bigint, (document ->> 'ts')::timestamptz, document ->> 'origin')
       <= (here.version, here.ts, here.origin) then
        return false;
    end if;
    delete from kv_config.setting;
    insert into kv_config.setting select * from jsonb_populate_record(null::kv_config.setting, document -> 'setting');
    delete from public.expiry_to_interval;
    insert into public.expiry_to_interval
    select * from jsonb_populate_recordset(null::public.expiry_to_interval, document -> 'expiry_to_interval');
    insert into kv_config.namespace as n
    select * from jsonb_populate_recordset(null::kv_config.namespace, document -> 'namespace')
    on conflict (namespace) do update
        set value_type = excluded.value_type, default_policy = excluded.default_policy,
            max_key = excluded.max_key, max_value = excluded.max_value, quota_rows = excluded.quota_rows,
            quota_bytes = excluded.quota_bytes, restricted = excluded.restricted;
    delete from kv_config.namespace n where not exists (
        select from jsonb_array_elements(document -> 'namespace') d where d ->> 'namespace' = n.namespace);
    delete from kv_config.namespace_grant;
    insert into kv_config.namespace_grant
    select * from jsonb_populate_recordset(null::kv_config.namespace_grant, document -> 'namespace_grant');
    perform kv_config._import_topology(document);
    update public.last_config_push set version = (document ->> 'version')::bigint,
        ts = (document ->> 'ts')::timestamptz, origin = document ->> 'origin';
    return true;
end
$$;
comment on function kv_config.import_config(jsonb) is
    'Takes a configuration over if it is newer than the one here; returns whether it was. A namespace '
    'that it lacks is closed; its rows stay.';
