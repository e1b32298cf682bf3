-- life.sql - whether this instance's history is unbroken: heartbeats, recovery, reclaiming.
--
-- A crash with asynchronous commit, a failover and a restored backup cut the history: transaction
-- ids are used again, and peers hold rows of ours that are gone here.  kv_config.running is empty
-- then, and clients can't write until kv.recover() was called and every peer has given our rows back.

create function kv._running() returns kv_config.running
language plpgsql stable
as $$
declare
    found_row kv_config.running;
begin
    select * into found_row from kv_config.running r where r.xmin = r.xid::xid;
    if not found then
        raise exception 'shard instance "%" has not recovered since its last crash, failover or restore',
            current_database()
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'The replicator calls kv.recover(); without one an administrator does.';
    end if;
    return found_row;
end
$$;

-- Writes the row of kv_config.running; xid must be the row's own transaction.
create function kv._run(instance int, identity uuid, new_state text) returns void
language plpgsql
as $$
begin
    -- Durable, even where writes are not.
    perform set_config('synchronous_commit', 'on', true);
    delete from kv_config.running;
    insert into kv_config.running (instance_id, incarnation, state, since, xid)
    values (instance, identity, new_state, kv.clock(), pg_current_xact_id());
    if not exists (select from kv_config.running r where r.xmin = r.xid::xid) then
        raise exception 'the state of a shard instance can''t change within a subtransaction'
            using errcode = 'active_sql_transaction';
    end if;
end
$$;

create function kv.heartbeat() returns uuid
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    mark uuid := gen_random_uuid();
    state kv_config.running := kv._running();
begin
    perform pg_current_xact_id();
    insert into kv.heartbeat (id, ts, snapshot) values (mark, kv.clock(), pg_current_snapshot());
    if (select seq % 100 = 0 from kv.heartbeat where id = mark) then
        perform kv._thin_heartbeats();
    end if;
    return mark;
end
$$;
comment on function kv.heartbeat() is
    'Marks the history of this instance with a random id. The replicator calls it about once a second.';

-- Keeps every mark of an hour, one an hour of what is older, and none older than gc_grace.
create function kv._thin_heartbeats() returns void
language sql
as $$
    delete from kv.heartbeat h using (
        select id, ts, row_number() over (partition by date_trunc('hour', ts) order by seq desc) as place
        from kv.heartbeat) old
    where old.id = h.id
      and (old.ts < kv.clock() - (select gc_grace from kv_config.setting)
           or (old.ts < kv.clock() - interval '1 hour' and old.place > 1));
    delete from kv.heartbeat_held h using (
        select peer, id, at, row_number() over (partition by peer, date_trunc('hour', at) order by seq desc) as place
        from kv.heartbeat_held) old
    where old.peer = h.peer and old.id = h.id
      and (old.at < kv.clock() - (select gc_grace from kv_config.setting)
           or (old.at < kv.clock() - interval '1 hour' and old.place > 1));
$$;

create function kv._active_peers() returns setof int
language sql stable
as $$ select peer from kv_config.peer where state <> 'removed' $$;

create function kv.recover(cut boolean default false) returns text
language plpgsql security definer set search_path = pg_catalog, kv, pg_temp
as $$
declare
    me int;
    newest timestamptz;
    previous kv_config.running;
    outcome text;
begin
    lock table kv_config.running in exclusive mode;
    select * into previous from kv_config.running r where r.xmin = r.xid::xid;
    if found and not cut then
        return previous.state;
    end if;
    select instance_id into me from kv_config.my_info;
    if me is null then
        raise exception 'shard instance "%" has no number', current_database()
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Set it with kv_config.set_my_info(instance_id, hostname).';
    end if;
    if previous is null and exists (select from kv_config.running) then
        perform kv._stamp_anew();
    end if;
    -- Acknowledgements name transactions of a history that may be gone.
    update kv.peer_status_to set ack_xid = null;
    update kv.gc_state set safe = safe - me::text, waiting = waiting - me::text;
    select max(ts) into newest from kv.heartbeat;
    if newest < kv.clock() - (select gc_grace from kv_config.setting)
       and exists (select from kv._active_peers()) then
        outcome := 'fenced';
    elsif exists (select from kv._active_peers()) then
        outcome := 'reclaiming';
    else
        outcome := 'online';
    end if;
    insert into kv.peer_status_from (peer) select * from kv._active_peers() on conflict do nothing;
    update kv.peer_status_from f set reclaim = null,
        reclaim_open = outcome = 'reclaiming' and not exists (
            select from kv.peer_status_to t where t.peer = f.peer and t.fenced);
    perform kv._run(me, gen_random_uuid(), outcome);
    perform kv.heartbeat();
    perform kv._reclaimed();
    return (select r.state from kv_config.running r);
end
$$;
comment on function kv.recover(boolean) is
    'Starts a new incarnation after a crash, a failover or a restore, unless the history is unbroken. '
    'Returns the state: reclaiming (peers give our rows back before clients may write), online, or '
    'fenced (older than gc_grace: bootstrap it anew). cut: the administrator knows that it was cut, as '
    'after putting a copy of a stopped cluster back.';

-- After dump and restore the rows carry transaction ids of another instance.
create function kv._stamp_anew() returns void
language plpgsql
as $$
begin
    update kv.t_kv t set xid = pg_current_xact_id(),
        origin_xid = case when peer = (select instance_id from kv_config.my_info)
                          then pg_current_xact_id() else origin_xid end;
    update kv.t_counter t set xid = pg_current_xact_id(),
        origin_xid = case when peer = (select instance_id from kv_config.my_info)
                          then pg_current_xact_id() else origin_xid end;
    delete from kv.heartbeat;
end
$$;

create function kv._reclaimed() returns void
language plpgsql
as $$
declare
    state kv_config.running := kv._running();
begin
    if state.state = 'reclaiming' and not exists (
            select from kv.peer_status_from f join kv._active_peers() p on p = f.peer
            where f.reclaim_open) then
        perform kv._run(state.instance_id, state.incarnation, 'online');
    end if;
end
$$;

create function kv_config.accept_writes() returns void
language plpgsql set search_path = pg_catalog, kv, pg_temp
as $$
declare
    state kv_config.running := kv._running();
begin
    if state.state = 'fenced' then
        raise exception 'shard instance % is older than gc_grace', state.instance_id
            using errcode = 'object_not_in_prerequisite_state', hint = 'Bootstrap it from a peer.';
    end if;
    perform kv._run(state.instance_id, state.incarnation, 'online');
end
$$;
comment on function kv_config.accept_writes() is
    'Accepts writes without the rows of ours that unreachable peers hold. These come back when the '
    'peers do, and lose against later writes.';

create function kv_config.set_my_info(instance int, host text) returns text
language plpgsql set search_path = pg_catalog, kv, pg_temp
as $$
begin
    insert into kv_config.my_info (instance_id, hostname) values (instance, host)
    on conflict ((true)) do update set hostname = excluded.hostname
        where kv_config.my_info.instance_id is not distinct from excluded.instance_id;
    if not found then
        raise exception 'this shard instance is number %, not %',
            (select instance_id from kv_config.my_info), instance
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return kv.recover();
end
$$;
comment on function kv_config.set_my_info(int, text) is
    'Names this shard instance; its number is for ever. Returns what kv.recover() returns.';

create function kv_config.add_peer(id int, host text default '', port_number int default 5432,
                                   new_state text default 'online') returns void
language plpgsql set search_path = pg_catalog, kv, pg_temp
as $$
begin
    if id = (select instance_id from kv_config.my_info) then
        raise exception 'peer % is this shard instance', id using errcode = 'invalid_parameter_value';
    end if;
    perform set_config('synchronous_commit', 'on', true);
    insert into kv_config.peer (peer, hostname, port, state) values (id, host, port_number, new_state)
    on conflict (peer) do update
        set hostname = excluded.hostname, port = excluded.port, state = excluded.state;
    insert into kv.peer_status_from (peer) values (id) on conflict do nothing;
    insert into kv.peer_status_to (peer, acked_at) values (id, kv.clock()) on conflict do nothing;
end
$$;
comment on function kv_config.add_peer(int, text, int, text) is
    'Counts a member from now on: tombstones wait for it.';

create function kv_config.forget_peer(id int) returns void
language plpgsql set search_path = pg_catalog, kv, pg_temp
as $$
begin
    update kv_config.peer set state = 'removed' where peer = id;
    if not found then
        raise exception 'there is no peer %', id using errcode = 'undefined_object';
    end if;
    delete from kv.peer_status_to t where t.peer = forget_peer.id;
    delete from kv.peer_status_from f where f.peer = forget_peer.id;
    delete from kv.heartbeat_held h where h.peer = forget_peer.id;
    perform kv._reclaimed();
end
$$;
comment on function kv_config.forget_peer(int) is
    'Waits no longer for a member that is gone for good. Its rows stay; verify the others afterwards.';
