-- A file for psql, to test how query_compare reads one: its commands and the data of COPY are no SQL.
\set ECHO none
\pset null '(null)'
select 1;
SELECT 'a;b', $$;$$, "c;d" FROM t -- ; set x = 1
 WHERE a = 1; SET work_mem = '1MB'; reset work_mem;
  \echo set
select set_config('a.b', 'c', false) \gset
select 'reset all' \gexec
set a.b = 1\; reset a.b;
create temp table x (a int, b text);
COPY x FROM stdin;
1	set role app;
2	it's
\.
copy x (a) from stdin with (format csv);
'; listen
\.
listen a /* ; /* unlisten a; */ ; */ ;
prepare p as select $1; execute p(1); deallocate p;
select pg_advisory_lock(1), pg_advisory_unlock(1);
create function f() returns int language sql begin atomic select 1; select 2; end;
this is no SQL;
discard all;
