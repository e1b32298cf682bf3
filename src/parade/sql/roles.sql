-- roles.sql - the roles of a parade.  Roles belong to the instance: this file may run many times.

create function kv_config.create_role_if_not_exists(role text, login boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_roles where rolname = role) then
        execute format('create role %I', role);
    end if;
    if (select rolcanlogin <> login from pg_roles where rolname = role) then
        execute format('alter role %I %s', role, case when login then 'login' else 'nologin' end);
    end if;
exception when duplicate_object or unique_violation then
    null;  -- made by another database's installation at the same time
end
$$;
comment on function kv_config.create_role_if_not_exists(text, boolean) is
    'Makes a role unless it exists, and gives it LOGIN or NOLOGIN. Needs CREATEROLE.';

select kv_config.create_role_if_not_exists('kv_client', true);
select kv_config.create_role_if_not_exists('kv_replicationd', true);

-- Settings of a role are written only where they differ: several databases may be installed at once.
do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('kv_client', 'statement_timeout', '1s'),
            ('kv_client', 'idle_in_transaction_session_timeout', '10s'),
            ('kv_replicationd', 'statement_timeout', '0'),
            ('kv_replicationd', 'lock_timeout', '200ms'),
            ('kv_replicationd', 'datestyle', 'ISO, YMD')) as v (role, name, setting)
        where not exists (
            select from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
            where r.rolname = v.role and s.setdatabase = 0
              and exists (select from unnest(s.setconfig) c where c ilike v.name || '=%'))
    loop
        execute format('alter role %I set %I = %L', wanted.role, wanted.name, wanted.setting);
    end loop;
end
$$;

do $$
begin
    if not pg_has_role('kv_replicationd', 'pg_read_all_stats', 'member') then
        grant pg_read_all_stats to kv_replicationd;
    end if;
exception when insufficient_privilege then
    raise notice 'kv_replicationd can''t see which session holds the horizon back'
        using hint = 'A superuser may run: GRANT pg_read_all_stats TO kv_replicationd';
end
$$;
