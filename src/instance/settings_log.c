/*
 * The part of the table of settings that says what is logged, and where to.
 */
#include "instance/settings_rows.h"
#include "machine/log.h"

static const struct setting_choice log_levels[] = {
    {"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
    {"info", LOG_INFO}, {"debug", LOG_DEBUG},     {NULL, 0},
};
static const struct setting_choice log_formats[] = {
    {"text", LOG_FORMAT_TEXT},
    {"json", LOG_FORMAT_JSON},
    {"logfmt", LOG_FORMAT_LOGFMT},
    {NULL, 0},
};
static const struct setting_choice target_levels[] = {
    {"inherit", LOG_INHERIT},
    {"error", LOG_ERR},
    {"warning", LOG_WARNING},
    {"notice", LOG_NOTICE},
    {"info", LOG_INFO},
    {"debug", LOG_DEBUG},
    {NULL, 0},
};
static const struct setting_choice target_formats[] = {
    {"inherit", LOG_INHERIT},
    {"text", LOG_FORMAT_TEXT},
    {"json", LOG_FORMAT_JSON},
    {"logfmt", LOG_FORMAT_LOGFMT},
    {NULL, 0},
};
static const struct setting_choice target_kinds[] = {
    {"stderr", LOG_TO_STDERR},
    {"file", LOG_TO_FILE},
    {"syslog", LOG_TO_SYSLOG},
    {"journal", LOG_TO_JOURNAL},
    {NULL, 0},
};
static const struct setting_choice target_protocols[] = {
    {"rfc3164", LOG_RFC3164},
    {"rfc5424", LOG_RFC5424},
    {NULL, 0},
};
static const struct setting_choice target_facilities[] = {
    {"user", LOG_USER},     {"daemon", LOG_DAEMON}, {"auth", LOG_AUTH},     {"local0", LOG_LOCAL0},
    {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},
    {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7}, {NULL, 0},
};

static const struct setting log_target_rows[] = {
    {.name = "to",
     .kind = SETTING_CHOICE,
     AT(log_target, to),
     .choices = target_kinds,
     .preset = "stderr",
     .required = true,
     .reloadable = true,
     .help = "Standard error, a file, syslog, or systemd's journal in its own protocol."},
    {.name = "level",
     .kind = SETTING_CHOICE,
     AT(log_target, level),
     .choices = target_levels,
     .preset = "inherit",
     .reloadable = true,
     .help = "The least urgent events that are written to it; inherit: as `log.level`."},
    {.name = "format",
     .kind = SETTING_CHOICE,
     AT(log_target, format),
     .choices = target_formats,
     .preset = "inherit",
     .reloadable = true,
     .help = "How its lines are written; inherit: as `log.format`."},
    {.name = "path",
     .kind = SETTING_PATH,
     AT(log_target, path),
     RANGE(1, PATH_MOST),
     .reloadable = true,
     .help = "The file; for syslog and the journal, a datagram socket in place of /dev/log and "
             "/run/systemd/journal/socket."},
    {.name = "facility",
     .kind = SETTING_CHOICE,
     AT(log_target, facility),
     .choices = target_facilities,
     .preset = "daemon",
     .reloadable = true,
     .help = "syslog's facility."},
    {.name = "protocol",
     .kind = SETTING_CHOICE,
     AT(log_target, protocol),
     .choices = target_protocols,
     .preset = "rfc3164",
     .reloadable = true,
     .help = "The form of syslog's messages."},
    {.name = "ident",
     .kind = SETTING_TEXT,
     AT(log_target, ident),
     RANGE(1, LOG_IDENT_MOST),
     .preset = "trunkline",
     .reloadable = true,
     .help = "The name that syslog and the journal file the lines under."},
    {.name = NULL},
};

const struct setting config_log_rows[] = {
    {.name = "level",
     .kind = SETTING_CHOICE,
     AT(config, log_level),
     .choices = log_levels,
     .preset = "info",
     .reloadable = true,
     .help = "The least urgent events that are written."},
    {.name = "format",
     .kind = SETTING_CHOICE,
     AT(config, log_format),
     .choices = log_formats,
     .preset = "text",
     .reloadable = true,
     .help = "Lines for people, of JSON, or of key=value pairs throughout."},
    {.name = "file",
     .kind = SETTING_PATH,
     AT(config, log_file),
     RANGE(1, PATH_MOST),
     .reloadable = true,
     .help = "Where to, if there are no `targets`; standard error unless given.  A reload and "
             "SIGUSR1 open it anew."},
    {.name = "targets",
     .kind = SETTING_LIST,
     LIST_OF(config, log_targets, log_target_count, log_target, log_target_rows),
     RANGE(0, LOG_TARGETS_MOST),
     .help = "Where to, in place of `file`: each target has a level and a format of its own."},
    {.name = "connections",
     .kind = SETTING_SWITCH,
     AT(config, log_connections),
     .preset = "yes",
     .reloadable = true,
     .help = "Writes an event for each client that comes."},
    {.name = "disconnections",
     .kind = SETTING_SWITCH,
     AT(config, log_disconnections),
     .preset = "yes",
     .reloadable = true,
     .help = "Writes an event for each client that goes, with the reason."},
    {.name = "repeat_period",
     .kind = SETTING_DURATION,
     AT(config, log_repeat_period),
     RANGE(SECONDS(1), DAYS(1)),
     OR_ZERO("off"),
     .preset = "10s",
     .reloadable = true,
     .help = "An event of level notice or above that says the same as one within this time is "
             "counted; the count is written at its end."},
    {.name = NULL},
};

/* What a user's settings replace is said by its route. */
#define OR_ROUTE .word = "route", .word_value = 0, .preset = "route"
