-- grants.sql - who may call what; runs after every installation and upgrade, in the same transaction.

revoke all on all functions in schema kv, kv_config, kv_stats from public;
revoke all on all tables in schema kv, kv_config, kv_stats from public;
grant usage on schema kv, kv_config, kv_stats to kv_client, kv_replicationd;
grant select on kv_config.my_info, kv_config.schema_version to public;
grant usage on schema kv_config to public;
grant select on all tables in schema kv_stats to kv_replicationd;
grant select on all tables in schema kv_config to kv_replicationd;
grant execute on function kv_config.export_config(), kv_config.import_config(jsonb) to kv_replicationd;

do $$
declare
    name text;
    clients text[] := '{get,get_bytes,get_version,mget,scan,ttl,touch,put,put_bytes,put_if,put_bytes_if,mput,
                        delete,patch_numeric,incr,watch,slot}';
    replicators text[] := '{heartbeat,recover,feed_hello,feed,feed_ack,held,link_begin,merge,merge_reclaimed,
                            acknowledge,link_report,retry,gc,verify,repair_page,repair,bootstrap_links,bootstrap_rows,
                            bootstrap_waiting,bootstrap_begin,bootstrap_wait,bootstrap_finish,slot}';
begin
    for name in select p.oid::regprocedure::text from pg_proc p
                where p.pronamespace = 'kv'::regnamespace and p.proname = any (clients)
    loop
        execute 'grant execute on function ' || name || ' to kv_client';
    end loop;
    for name in select p.oid::regprocedure::text from pg_proc p
                where p.pronamespace = 'kv'::regnamespace and p.proname = any (replicators)
    loop
        execute 'grant execute on function ' || name || ' to kv_replicationd';
    end loop;
    if to_regclass('kv.t_kv') is not null then
        grant select on kv.peer_status_from, kv.peer_status_to, kv.deferred, kv.quarantine, kv.conflict,
                        kv.heartbeat, kv.gc_state to kv_replicationd;
        grant select, insert on kv.staging to kv_replicationd;
        execute 'grant execute on function kv_stats.update_usage() to kv_replicationd';
    else
        grant select on all tables in schema public to kv_replicationd;
        execute 'grant execute on function kv_config.push_catalog_changes() to kv_replicationd';
    end if;
end
$$;
