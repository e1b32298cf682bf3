/* settings_session.c - the rows of a route's session_state. */
#include "instance/settings_rows.h"

static const struct setting_choice policies[] = {
    {"pin", PIN_PIN}, {"reset", PIN_RESET}, {"reject", PIN_REJECT}, {"allow", PIN_ALLOW}, {NULL, 0},
};

static const struct setting_choice isolations[] = {
    {"read", ISOLATION_READ},
    {"strict", ISOLATION_STRICT},
    {"fresh", ISOLATION_FRESH},
    {NULL, 0},
};

#define POLICY_UNLESS(row, which, usual, text)                                                     \
    {                                                                                              \
        .name = (row), .kind = SETTING_CHOICE, AT(session_config, policy[which]),                  \
        .choices = policies, .preset = (usual), .reloadable = true, .help = (text),                \
    }
#define POLICY(row, which, text) POLICY_UNLESS(row, which, "pin", text)

const struct setting config_session_rows[] = {
    {.name = "isolation",
     .kind = SETTING_CHOICE,
     AT(session_config, isolation),
     .choices = isolations,
     .preset = "read",
     .reloadable = true,
     .help = "For pools whose clients do not trust each other: with strict, a server is cleaned of "
             "everything before another client gets it, whatever the texts said; with fresh, it is "
             "closed; read goes by what the texts of statements show."},
    POLICY("set", QUERY_SETTING,
           "SET of a parameter that servers do not report, such as search_path or "
           "statement_timeout; the reported ones follow their client."),
    POLICY("role", QUERY_ROLE, "SET ROLE."),
    POLICY("authorization", QUERY_AUTHORIZATION, "SET SESSION AUTHORIZATION."),
    POLICY("set_config", QUERY_CONFIG,
           "set_config() of such a parameter, unless its third argument is true."),
    POLICY("temporary", QUERY_TEMPORARY,
           "Temporary tables and other objects, unless ON COMMIT DROP."),
    POLICY("prepare", QUERY_PREPARE,
           "SQL's PREPARE; statements that drivers prepare are not meant."),
    POLICY("listen", QUERY_LISTEN, "LISTEN."),
    POLICY("cursor", QUERY_CURSOR, "DECLARE ... WITH HOLD."),
    POLICY("lock", QUERY_LOCK, "pg_advisory_lock() and the like, without _xact_."),
    POLICY_UNLESS("sequences", QUERY_SEQUENCES, "reset",
                  "lastval() and currval(): with reset, sequences that others have used are "
                  "discarded in front of each client of a pool that calls these."),
    POLICY("seed", QUERY_SEED, "setseed(), and SET of seed."),
    POLICY("load", QUERY_LOAD, "LOAD; a server that has loaded something is closed, not cleaned."),
    POLICY("slot", QUERY_SLOT,
           "Temporary replication slots and replication origins; such a server is closed, not "
           "cleaned."),
    {.name = "pin_share",
     .kind = SETTING_COUNT,
     AT(session_config, pin_share),
     RANGE(1, 100),
     .preset = "90",
     .unit = "percent",
     .reloadable = true,
     .help = "Percent of pool_size that clients may keep by `pin`, one server at least; beyond it "
             "the statement fails (53300)."},
    {.name = NULL},
};
