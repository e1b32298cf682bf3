-- Every kind of statement that PostgreSQL 15 has, one to a line, and every way to leave something in a session.
-- For query_grammar_test.c, which reads them as they are and in many other spellings.
-- SET and RESET
set work_mem = '1MB'
set work_mem to default
set Search_Path to a, b
set search_path = 'a', "B", c
set search_path = pg_temp
set search_path to 'pg_temp', public
set local search_path = pg_temp
set local search_path to a, pg_temp
set schema 'a'
set local schema 'pg_temp'
set session work_mem = 5
set local work_mem = 5
set session session.x = 1
set local local.x = 1
set local.x = 1
set transaction.x to 'a'
set constraints.x = on
set session.x = 'b'
set role.x = 1
set session_authorization.x = 1
set a.b = 1
set a.b.c = 1
set a.b to default
set a.b from current
set time zone 'UTC'
set time zone default
set time zone local
set time zone interval '1' hour to minute
set local time zone 'UTC'
set names 'utf8'
set names
set xml option document
set session xml option content
set transaction isolation level serializable
set local transaction read only
set session transaction read write
set transaction snapshot 'a'
set transaction_isolation = 'serializable'
set session characteristics as transaction read only
set session session characteristics as transaction isolation level serializable
set local session characteristics as transaction read only
set constraints all deferred
set constraints a, b immediate
set seed = 0.5
set local seed to 0.5
set role bob
set role 'bob'
set role none
set role 'none'
set role 'NONE'
set role to bob
set role = default
set local role bob
set session role bob
set local role none
set session authorization bob
set session authorization 'bob'
set session authorization default
set session authorization 'default'
set session session authorization bob
set local session authorization bob
set session_authorization to bob
set session_authorization = default
set local session_authorization = bob
reset work_mem
reset a.b
reset all
reset role
reset role.x
reset session authorization
reset session_authorization
reset session.x
reset time zone
reset timezone
reset transaction isolation level
reset transaction.x
reset search_path
-- Others of the session
discard all
discard temp
discard temporary
discard plans
discard sequences
listen a
unlisten a
unlisten *
notify a
notify a, 'b'
load 'auto_explain'
prepare a as select 1
prepare a (int, text) as select $1, $2
prepare a as insert into t values (1)
prepare a as update pg_settings set setting = '1' where name = 'work_mem'
prepare a as select set_config('role', 'bob', false)
prepare transaction 'a'
execute a
execute a (1, 'b')
deallocate a
deallocate prepare a
deallocate all
deallocate prepare all
declare a cursor for select 1
declare a cursor with hold for select 1
declare a cursor without hold for select 1
declare a binary insensitive no scroll cursor with hold for select set_config('a.b', 'c', false)
declare with_hold cursor for select 1
close a
close all
fetch a
fetch all from a
fetch forward 5 in a
move backward 5 in a
lock table t in exclusive mode
-- Transactions
begin
begin work isolation level repeatable read
begin transaction read only
start transaction
start transaction isolation level serializable, read write, deferrable
commit
commit and chain
end
rollback
rollback and no chain
abort
savepoint a
release a
release savepoint a
rollback to a
rollback work to savepoint a
commit prepared 'a'
rollback prepared 'a'
-- Queries
select 1
select
select a, b.c, "D" from t where a = $1 order by b limit 10
select distinct on (a) a from t
select all a from only t
select a from t for update
select a from t for no key update of t skip locked
select a from t for share nowait
select count(*) filter (where a > 1) over (partition by b order by c rows between 1 preceding and current row) from t
select a from t group by rollup (a), grouping sets ((a), ()) having count(*) > 1 window x as (order by a)
select * from t join u using (a) left join v on t.a = v.b cross join w
select * from t, lateral (select 1) as x, unnest(array[1, 2]) with ordinality
select * from t tablesample bernoulli (10) repeatable (1)
select case when a then 'b' else 'c' end from t
select cast(a as int), b::text, c at time zone 'UTC', d collate "C" from t
select exists (select 1), array(select 1), (select 1), row (1, 2), (1, 2)
select a is null, b between 1 and 2, c in (1, 2), d like 'e' escape '#' from t
select extract(year from a), substring(a from 1 for 2), position('a' in b), overlay(a placing b from 1), trim(both 'a' from b)
select interval '1' day, timestamp '2000-01-01', b'101', x'1F', 1e5, 1.5, .5, 0
select a.*, (b).c, (d).e[1] from a
select current_user, session_user, current_role, current_timestamp
select xmlelement(name a, xmlattributes(b as c)), xmlforest(a, b)
select 1 union select 2 intersect select 3 except all select 4
(select 1) union all (select 2) order by 1
((select 1))
values (1, 'a'), (2, 'b')
table t
table only t
select 'it''s', 'set x = 1; reset all', $$listen a; $$, $a$deallocate all$a$
select "set", "reset" from "listen"
select temp, temporary, local, hold from temporary
select set_config, lastval from pg_advisory_lock
select 1 as "into temp t"
select a into t from u
select a into temp t from u
select a into temporary table t from u
select a into local temp t from u
select a into unlogged t from u
select a into pg_temp.t from u
select a into pg_temp_3.t from u
select into temp t
with a as (select 1) select * into temp t from a
with recursive a (n) as (select 1 union all select n + 1 from a where n < 5) select * from a
with a as materialized (select 1), b as not materialized (select 2) select * from a, b
with a as (insert into t values (1) returning *) select * from a
with a as (delete from t using u where t.a = u.a returning 1) select * from a
with a as (update pg_settings set setting = '1') select 1
with a as (update t set b = 1 returning 1) select * from a
insert into t values (1)
insert into t (a, b) values (1, default) returning a as b
insert into t default values
insert into t select * from u
insert into t overriding system value values (1)
insert into t as x values (1) on conflict do nothing
insert into t values (1) on conflict (a) where b do update set a = excluded.a where t.b
insert into pg_settings values (1)
insert into t select set_config('a.b', 'c', false)
update t set a = 1 where b = 2
update only t as x set (a, b) = (1, 2) from u where x.a = u.a returning *
update "pg_settings" set setting = '1' where name = 'work_mem'
update pg_settings set setting = '1'
update only pg_settings set setting = '1'
update only (pg_settings) set setting = '1'
update pg_catalog.pg_settings s set setting = '1' where s.name = 'a'
update pg_catalog . "pg_settings" set setting = '1'
update other.pg_settings set a = 1
update pg_class set relname = 'a'
update only_t set a = 1
update t set a = (select lastval())
update t set a = 1 where current of c
delete from t where a = 1
delete from only t using u where t.a = u.a returning a
merge into t using u on t.a = u.a when matched then update set b = 1 when not matched then insert values (1)
merge into t using u on t.a = u.a when matched and b then delete when not matched then do nothing
copy t from stdin
copy t (a, b) to stdout with (format csv, header)
copy t from '/tmp/a' csv
copy (select 1) to stdout
copy (select set_config('a.b', 'c', false)) to stdout
copy (update pg_settings set setting = '1') to stdout
copy t from program 'a' where b > 1
truncate t, u restart identity cascade
explain select 1
explain analyze select 1
explain analyze verbose update t set a = 1
explain (analyze, buffers, format json) select 1
explain analyze create temp table t as select 1
explain (analyze) create table pg_temp.t as select 1
explain analyze create temp table if not exists t as select 1
explain create table t as select 1
explain analyze execute a
explain analyze declare a cursor with hold for select 1
explain analyze update pg_settings set setting = '1'
explain analyze create materialized view a as select 1
-- Functions
select set_config('work_mem', '1MB', false)
select set_config('work_mem', '1MB', true)
select pg_catalog.set_config('a.b', 'c', false)
select set_config('role', 'bob', false)
select set_config('ROLE', 'bob', false)
select set_config('session_authorization', 'bob', false)
select set_config('role', 'none', false)
select set_config('seed', '0.5', true)
select set_config('transaction_isolation', 'serializable', false)
select set_config($1, $2, $3)
select set_config($1, $2, true)
select set_config(a, b, c) from t
select set_config('a' || 'b', 'c', false)
select set_config('a.b', set_config('c.d', 'e', false), true)
select set_config('search_path', 'a', true)
select set_config('a.b', case when true then 'c' end, false)
select set_config(setting_name => 'role', new_value => 'bob', is_local => false)
select set_config('role', new_value => 'bob', is_local => false)
select set_config('role', 'bob', is_local => 1 = 2)
select (select set_config('a.b', 'c', false))
select * from set_config('a.b', 'c', false)
select 1 where set_config('a.b', 'c', false) is null
select 1 from t order by set_config('a.b', 'c', false)
select 1 limit length(set_config('a.b', 'c', false))
values (set_config('a.b', 'c', false))
insert into t values (set_config('a.b', 'c', false)) returning set_config('d.e', 'f', false)
delete from t where set_config('a.b', 'c', false) = 'c'
merge into t using u on set_config('a.b', 'c', false) is null when matched then delete
select pg_advisory_lock(1)
select pg_advisory_lock(1, 2)
select pg_advisory_lock_shared(1), pg_advisory_lock(2)
select pg_try_advisory_lock(1)
select pg_try_advisory_lock_shared(1)
select pg_catalog.pg_try_advisory_lock(a) from t
select pg_advisory_unlock(1)
select pg_advisory_unlock_shared(1)
select pg_advisory_unlock_all()
select pg_advisory_xact_lock(1)
select pg_try_advisory_xact_lock_shared(1)
select pg_advisory_lock(length(set_config('a.b', 'c', false)))
select lastval()
select lastval(), 1
select currval('s')
select nextval('s'), setval('s', 5), currval('s')
select setseed(0.5)
select setseed(0.5), random()
select pg_create_physical_replication_slot('a')
select pg_create_physical_replication_slot('a', false, true)
select pg_create_physical_replication_slot('a', false, false)
select pg_create_logical_replication_slot('a', 'b', true)
select pg_create_logical_replication_slot('a', 'b')
select * from pg_create_logical_replication_slot('a', 'b', true, false)
select pg_replication_origin_session_setup('a')
select query_to_xml('select 1', true, true, '')
select other.set_config('a', 'b', false), other.lastval()
call a(1, 2)
call a(set_config('b.c', 'd', false))
do 'begin end'
do $$begin perform 1; end$$
do language plpgsql $$begin perform set_config('a.b', 'c', false); end$$
do $$begin perform 1; end$$ language plpgsql
do language plpython3u 'pass'
-- CREATE
create table t (a int primary key, b text default 'c' not null unique check (b > 'd') references u (v) on delete cascade)
create table if not exists a.t (like u including all, foreign key (a) references v match full on update set null deferrable)
create table t (a int) partition by range (a)
create table t partition of u for values from (1) to (2) with (fillfactor = 70) tablespace x
create table t of u
create table t (a int) inherits (u)
create table t (a int generated always as identity, b int generated always as (a * 2) stored)
create table t (exclude using gist (a with &&))
create table temp (temp int)
create table t as select 1 as a
create table t as select 1 with no data
create table t as execute a
create table t as table u
create temp table t as execute a
create table pg_temp.t as select 1
create unlogged table t (a int)
create unlogged table t as select 1
create temp table t (a int)
create temporary table t (a int) on commit drop
create temp table t (a int) on commit delete rows
create temp table t (a int) on commit preserve rows
create local temp table t (a int)
create global temporary table t (a int)
create temp table if not exists t (a int)
create temp table t on commit drop as select 1
create temp table t on commit preserve rows as select 1
create table pg_temp.t (a int)
create table "pg_temp".t (a int)
create table pg_temp_3.t (a int) on commit drop
create table a.pg_temp (b int)
create view v as select 1
create or replace temp view v as select 1
create temporary recursive view v (a) as select 1
create view pg_temp.v as select 1
create view v with (security_barrier) as select 1 with local check option
create materialized view v as select 1
create sequence s
create temp sequence s start 5
create temporary sequence if not exists pg_temp.s
create sequence s as int increment by 2 minvalue 1 no maxvalue cache 5 cycle owned by t.a
create index on t (a)
create unique index concurrently if not exists i on t using btree (lower(a) collate "C" desc nulls last) include (b) where c
create function f() returns int language sql as 'select 1'
create or replace function f(a int default 1, out b int, variadic c int[]) returns setof record language plpgsql immutable strict security definer parallel safe cost 5 rows 5 as $$begin end$$
create function f() returns int language sql set search_path = a, pg_temp as 'select 1'
create function f() returns int set work_mem from current language sql as 'select 1'
create function f() returns table (a int) language sql as 'select 1'
create function f() returns int language c as 'a', 'b'
create function f() returns int return 1
create function f() returns int language sql begin atomic select 1; select 2; end
create function f() returns int begin atomic select case when true then 1 end; update pg_settings set setting = '1'; end
create procedure p() begin atomic select set_config('a.b', 'c', false); end
create function pg_temp.f() returns int language sql as 'select 1'
create procedure p(inout a int) language plpgsql as 'begin end'
create procedure pg_temp.p() language sql as ''
create aggregate a (int) (sfunc = b, stype = int)
create aggregate pg_temp.a (int) (sfunc = b, stype = int)
create operator @#@ (leftarg = int, rightarg = int, function = f)
create operator pg_temp.@#@ (leftarg = int, rightarg = int, function = f)
create operator class c for type int using btree as operator 1 <, function 1 f(int, int)
create operator family f using btree
create type t as (a int, b text)
create type pg_temp.t as (a int)
create type t as enum ('a', 'b')
create type pg_temp.t as enum ('a')
create type t as range (subtype = float8)
create type pg_temp.t as range (subtype = float8)
create type t
create type t (input = a, output = b)
create domain d as int check (value > 0)
create domain pg_temp.d as int
create cast (int as text) with function f(int) as assignment
create collation c (locale = 'C')
create collation pg_temp.c from "C"
create conversion c for 'utf8' to 'latin1' from f
create text search configuration c (copy = simple)
create text search dictionary pg_temp.d (template = simple)
create transform for int language sql (from sql with function f(internal))
create access method a type index handler h
create trigger a before insert or update of b on t for each row when (new.b > 1) execute function f()
create constraint trigger a after delete on t deferrable initially deferred for each row execute procedure f('a')
create event trigger a on ddl_command_start when tag in ('a') execute function f()
create rule a as on insert to t do nothing
create rule a as on update to t where b do instead (select 1; select 2)
create or replace rule a as on insert to t do also notify b
create policy p on t as restrictive for select to bob using (a > 1) with check (b)
create schema s
create schema if not exists s authorization bob
create schema s create table t (a int) create view v as select 1
create extension e
create extension if not exists e with schema s version '1' cascade
create database d
create database d template a owner b encoding 'utf8'
create role r
create user r login password 'a' valid until 'b' in role s
create group g
create tablespace t owner bob location '/a'
create foreign data wrapper w handler h options (a 'b')
create server s type 'a' version 'b' foreign data wrapper w options (c 'd')
create foreign table t (a int options (b 'c')) server s
create foreign table pg_temp.t (a int) server s
create user mapping if not exists for bob server s
create publication p for table t (a) where (b > 1), tables in schema s
create subscription s connection 'a' publication p with (enabled = false)
create statistics s (ndistinct) on a, b from t
create language l handler h
import foreign schema a from server b into c
import foreign schema a limit to (d) from server b into pg_temp
-- ALTER, DROP and the rest
alter table t add column a int, drop b, alter c type text using c::text
alter table t add column a int
alter table t rename to u
alter table t set schema s
alter table t attach partition u default
alter table t enable row level security
alter table all in tablespace a set tablespace b
alter index i set (fillfactor = 50)
alter view v rename a to b
alter sequence s restart with 5
alter function f() owner to bob
alter function f() set work_mem = '1MB'
alter function f() reset all
alter procedure p() set search_path to pg_temp
alter role r set work_mem = '1MB'
alter role all in database d reset all
alter user r reset work_mem
alter role r with nologin
alter database d set search_path = a
alter database d reset all
alter database d refresh collation version
alter system set work_mem = '1MB'
alter system reset all
alter type t add value 'a' before 'b'
alter type t add attribute a int
alter domain d set default 1
alter schema s rename to t
alter extension e update to '2'
alter extension e add table t
alter default privileges in schema s grant select on tables to bob
alter policy p on t using (true)
alter publication p add table t
alter subscription s disable
alter server s options (set a 'b')
alter user mapping for bob server s options (drop a)
alter foreign table t alter a options (add b 'c')
alter text search configuration c add mapping for word with simple
alter operator @#@ (int, int) set (restrict = f)
alter event trigger a disable
alter statistics s set statistics 100
alter large object 1 owner to bob
alter tablespace t set (seq_page_cost = 2)
drop table t
drop table if exists t cascade
drop table pg_temp.t
drop table a, b restrict
drop table public.t
drop view v
drop index concurrently if exists i
drop sequence s
drop function f(int), g
drop type t cascade
drop schema s
drop role r
drop owned by bob cascade
reassign owned by a to b
drop database if exists d with (force)
drop trigger a on t
drop rule a on t
drop policy p on t
drop extension e
drop cast (int as text)
drop operator @#@ (int, int)
drop subscription s
drop user mapping for bob server s
grant select, update (a) on t to bob with grant option
grant execute on function f() to public
grant a, b to c
grant all on all tables in schema s to bob
grant set on parameter work_mem to bob
revoke grant option for select on t from bob cascade
comment on table t is 'a'
comment on column t.a is null
security label for a on table t is 'b'
analyze
analyze verbose t (a)
vacuum
vacuum (full, analyze) t
vacuum full verbose t
cluster t using i
reindex table concurrently t
reindex (verbose) database d
checkpoint
refresh materialized view concurrently v with no data
show work_mem
show all
show time zone
show transaction isolation level
show session authorization
