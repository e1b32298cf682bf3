"""What a session of PostgreSQL holds that its transactions have left: the oracle of the tests.

Every name is qualified, so that nothing which a client left behind can answer in its place.  It does
not see custom settings, the state of random(), sequences, and libraries that were loaded.
"""
from . import wire as w

_EQ = "operator(pg_catalog.=)"
LEFTOVER = f"""
select pg_catalog.string_agg(what, ', ' order by what) from (
  select 'setting ' || name || '=' || setting from pg_catalog.pg_settings
    where source {_EQ} 'session' and not name {_EQ} any ('{{application_name,client_encoding,
      DateStyle,IntervalStyle,TimeZone,standard_conforming_strings}}'::pg_catalog.text[])
  union all select 'lock ' || objid::pg_catalog.text from pg_catalog.pg_locks
    where locktype {_EQ} 'advisory' and pid {_EQ} pg_catalog.pg_backend_pid()
  union all select 'channel ' || c from pg_catalog.pg_listening_channels() c
  union all select 'cursor ' || name from pg_catalog.pg_cursors where is_holdable
  union all select 'prepared ' || name from pg_catalog.pg_prepared_statements where from_sql
  union all select 'temporary ' || relname::pg_catalog.text from pg_catalog.pg_class
    where relnamespace {_EQ} pg_catalog.pg_my_temp_schema()
  union all select 'temporary ' || proname::pg_catalog.text from pg_catalog.pg_proc
    where pronamespace {_EQ} pg_catalog.pg_my_temp_schema()
  union all select 'slot ' || slot_name::pg_catalog.text from pg_catalog.pg_replication_slots
    where temporary and active_pid {_EQ} pg_catalog.pg_backend_pid()
  union all select 'session user ' || session_user where session_user <> 'app'
  union all select 'current user ' || current_user where current_user <> 'app'
) as leftover (what)
"""


def leftover(wire):
    """What the server of this connection holds, as text; None: nothing."""
    answer = wire.ask(w.query(LEFTOVER))
    errors = [m.fields for m in answer if m.kind == "E"]
    assert not errors, errors
    return w.rows(answer)[0][0]
