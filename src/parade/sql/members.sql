-- members.sql - a shard's part of the configuration: its own name and its members.

create function kv_config._export_topology() returns jsonb
language sql stable
as $$ select '{}'::jsonb $$;

create function kv_config._import_topology(document jsonb) returns void
language plpgsql
as $$
declare
    member record;
begin
    for member in
        select d.instance_id, d.hostname, d.port, d.state
        from jsonb_to_recordset(document -> 'shard_instance')
             d (instance_id int, hostname text, port int, shard_name text, state text)
        where d.shard_name = current_database()
          and d.instance_id <> (select instance_id from kv_config.my_info)
    loop
        if member.state <> 'removed' then
            perform kv_config.add_peer(member.instance_id, member.hostname, member.port, member.state);
        elsif exists (select from kv._active_peers() p where p = member.instance_id) then
            perform kv_config.forget_peer(member.instance_id);
        end if;
    end loop;
end
$$;
