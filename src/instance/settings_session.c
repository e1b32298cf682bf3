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

const struct setting_choice config_reads_choices[] = {
    {"primary", READS_PRIMARY},
    {"replica", READS_REPLICA},
    {"prefer-replica", READS_PREFER_REPLICA},
    {NULL, 0},
};

const struct setting_choice config_consistency_choices[] = {
    {"session", READS_SESSION},
    {"eventual", READS_EVENTUAL},
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
     .help = "How servers are cleaned between clients. read: as the texts of the statements "
             "require; strict: of everything, whatever the texts were; fresh: the server is "
             "closed. Use strict or fresh if clients of a pool do not trust each other."},
    POLICY("set", QUERY_SETTING,
           "SET of a parameter that servers do not report, such as search_path or "
           "statement_timeout; reported parameters follow their client."),
    POLICY("role", QUERY_ROLE, "SET ROLE."),
    POLICY("authorization", QUERY_AUTHORIZATION, "SET SESSION AUTHORIZATION."),
    POLICY("set_config", QUERY_CONFIG,
           "set_config() of such a parameter, unless its third argument is true."),
    POLICY("temporary", QUERY_TEMPORARY,
           "Temporary tables and other objects, unless ON COMMIT DROP."),
    POLICY("prepare", QUERY_PREPARE,
           "SQL-level PREPARE; statements that drivers prepare by the protocol are not affected."),
    POLICY("listen", QUERY_LISTEN, "LISTEN."),
    POLICY("cursor", QUERY_CURSOR, "DECLARE ... WITH HOLD."),
    POLICY("lock", QUERY_LOCK,
           "pg_advisory_lock() and other session-level lock functions (without _xact_)."),
    POLICY_UNLESS("sequences", QUERY_SEQUENCES, "reset",
                  "lastval() and currval(); reset: values left by other clients are discarded "
                  "before each client of a pool that calls these functions."),
    POLICY("seed", QUERY_SEED, "setseed(), and SET of seed."),
    POLICY("load", QUERY_LOAD, "LOAD; a server that has loaded a library is closed, not cleaned."),
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
     .help = "Percent of pool_size that clients may hold by `pin`, at least one server; beyond it, "
             "the statement fails (53300)."},
    {.name = NULL},
};
