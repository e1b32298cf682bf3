#!/usr/bin/python3
"""Writes src/query/read_functions.def: the functions that a proven read may call.

    tools/read_functions.py CONNECTION [FILE]

Asks the pg_proc of a PostgreSQL.  A name is listed if no function of that name in pg_catalog is
volatile, and either all of them are immutable or the name is among STABLE: what these return is
the same on a standby, and they touch no state of the session.
"""
import sys
from pathlib import Path

import psycopg

FILE = Path(__file__).resolve().parent.parent / "src/query/read_functions.def"

# Stable functions that are true on a standby.  Not here: those that tell of the server or of the
# session (pg_backend_pid, current_setting, pg_is_in_recovery, txid_current_snapshot, version),
# and those that run a text or read a whole schema (table_to_xml).
STABLE = """
age array_to_json array_to_string col_description concat concat_ws convert convert_from convert_to
current_database current_schema current_schemas date date_part date_trunc enum_first enum_last
enum_range extract format format_type generate_series has_any_column_privilege
has_column_privilege has_database_privilege has_function_privilege has_schema_privilege
has_sequence_privilege has_table_privilege has_type_privilege json_agg json_build_array
json_build_object json_object_agg json_populate_record json_populate_recordset json_to_record
json_to_recordset json_to_tsvector jsonb_agg jsonb_build_array jsonb_build_object
jsonb_object_agg jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_array_tz
jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset
jsonb_to_record jsonb_to_recordset jsonb_to_tsvector length make_timestamptz money now numeric
obj_description overlaps pg_typeof phraseto_tsquery plainto_tsquery quote_literal quote_nullable
row_to_json statement_timestamp time timestamp timestamptz timetz timezone to_char to_date to_json
to_jsonb to_number to_regclass to_regnamespace to_regproc to_regprocedure to_regrole to_regtype
to_timestamp to_tsquery to_tsvector transaction_timestamp ts_headline websearch_to_tsquery
""".split()

# Implementations of operators and parts of aggregates that people call by name.
NAMED = """
array_append array_cat array_prepend isempty json_extract_path json_extract_path_text
jsonb_extract_path jsonb_extract_path_text range_merge starts_with
""".split()

# Immutable, and of no use in a query of an application.
LEFT_OUT = r"^(pg_(?!size_)|txid_|makeacl|postgresql_fdw|satisfies_hash)|_(subdiff|accum_inv|canonical)$"

QUERY = """
with named as (
  select p.proname as name, bool_and(p.provolatile = 'i') as immutable,
         bool_or(p.provolatile = 'v') as volatile,
         bool_or(exists (select from pg_operator o where o.oprcode = p.oid)
                 or exists (select from pg_amproc a where a.amproc = p.oid)
                 or exists (select from pg_type t
                            where p.oid in (t.typinput, t.typoutput, t.typreceive, t.typsend,
                                            t.typmodin, t.typmodout, t.typanalyze))
                 or exists (select from pg_aggregate a
                            where p.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
                                            a.aggserialfn, a.aggdeserialfn))) as part,
         bool_or(p.prokind = 'p'
                 or p.prorettype = any (array['trigger', 'event_trigger', 'internal', 'cstring',
                                              'void', 'language_handler', 'fdw_handler',
                                              'index_am_handler', 'table_am_handler',
                                              'tsm_handler']::regtype[])
                 or array['internal', 'cstring']::regtype[]::oid[]
                    && p.proargtypes::oid[]) as hidden
  from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace group by 1)
select name from named
where not volatile and (not hidden or name = any (%(stable)s))
  and ((immutable and not part and name !~ %(left_out)s)
       or (immutable and name = any (%(named)s)) or name = any (%(stable)s))
order by name collate "C"
"""


def names(connection):
    parameters = {"stable": STABLE, "named": NAMED, "left_out": LEFT_OUT}
    return [row[0] for row in connection.execute(QUERY, parameters)]


def listed(path=FILE):
    """The names in the file."""
    return [line[10:-2] for line in path.read_text().splitlines() if line.startswith("FUNCTION(")]


def main():
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else FILE
    with psycopg.connect(sys.argv[1]) as connection:
        lines = [f'FUNCTION("{name}")\n' for name in names(connection)]
    path.write_text("/* Made by tools/read_functions.py from PostgreSQL's pg_proc; sorted. */\n"
                    + "".join(lines))


if __name__ == "__main__":
    main()
