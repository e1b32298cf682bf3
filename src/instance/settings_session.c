/* settings_session.c - the rows of a route's session_state. */
#include "instance/settings_rows.h"

static const struct setting_choice policies[] = {
    {"pin", PIN_PIN}, {"reset", PIN_RESET}, {"reject", PIN_REJECT}, {"allow", PIN_ALLOW}, {NULL, 0},
};

#define POLICY(row, which, text)                                                                   \
    {                                                                                              \
        .name = (row), .kind = SETTING_CHOICE, AT(session_config, policy[which]),                  \
        .choices = policies, .preset = "pin", .reloadable = true, .help = (text),                  \
    }

const struct setting config_session_rows[] = {
    POLICY("set", QUERY_SETTING,
           "SET of a parameter that servers do not report, such as search_path or "
           "statement_timeout; the reported ones follow their client."),
    POLICY("role", QUERY_ROLE, "SET ROLE and SET SESSION AUTHORIZATION."),
    POLICY("set_config", QUERY_CONFIG,
           "set_config() of such a parameter, unless its third argument is true."),
    POLICY("temporary", QUERY_TEMPORARY,
           "Temporary tables and other objects, unless ON COMMIT DROP."),
    POLICY("prepare", QUERY_PREPARE,
           "SQL's PREPARE; statements that drivers prepare are not meant."),
    POLICY("listen", QUERY_LISTEN, "LISTEN."),
    POLICY("cursor", QUERY_CURSOR, "DECLARE ... WITH HOLD."),
    POLICY("lock", QUERY_LOCK, "pg_advisory_lock() and the like, without _xact_."),
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
