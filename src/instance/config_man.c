/*
 * config_man.c - docs/man/trunkline.5, made from the table of settings: `trunkline docs
 * trunkline.5`.
 */
#include "instance/config_load.h"
#include "instance/config_manual.h"
#include "instance/settings.h"

static const char man_start[] =
    ".\\\" Made by `trunkline docs trunkline.5` from the table in src/instance/settings.c.\n"
    ".TH TRUNKLINE 5 \"2026-11-21\" \"Trunkline\" \"File Formats\"\n"
    ".SH NAME\n"
    "trunkline.yaml \\- configuration of the connection pooler trunkline\n"
    ".SH DESCRIPTION\n"
    ".BR \"trunkline run\" \" reads a YAML file;\"\n"
    ".B trunkline check\n"
    "reports every problem of it.\n"
    "An unknown key is an error; so is a key that is set twice.\n"
    ".PP\n"
    "Durations have a unit: us, ms, s, min, h, d.\n"
    "Sizes have a unit: B, KiB, MiB, GiB.\n"
    "Counts have no unit.\n"
    "Switches are yes or no.\n"
    "Paths are relative to the file in which they stand unless they begin with a slash.\n"
    "An asterisk must be quoted.\n"
    ".PP\n"
    "The key\n"
    ".B include\n"
    "names further files, by paths or by patterns such as conf.d/*.yaml.\n"
    "Lists and mappings of names of all files are appended;\n"
    "a setting that two files set is an error.\n"
    ".PP\n"
    "SIGHUP, or RELOAD on the console, reloads all files.\n"
    "If a file has errors, nothing changes.\n"
    "Settings marked with\n"
    ".I restart\n"
    "keep their value until the next start.\n"
    ".SH EXAMPLE\n"
    ".nf\n"
    "listen:\n"
    "  \\- {host: 127.0.0.1, port: 6432}\n"
    "services:\n"
    "  main: {hosts: [\"127.0.0.1:5432\"]}\n"
    "auth_file: users.txt\n"
    "routes:\n"
    "  \\- {database: \"*\", user: \"*\", service: main, pool: transaction, pool_size: 20}\n"
    "console: {users: [admin]}\n"
    ".fi\n"
    ".SH SETTINGS\n";

static const char man_end[] =
    ".SH FILES\n"
    ".TP\n"
    ".I /etc/trunkline/trunkline.yaml\n"
    "The configuration of the packaged service.\n"
    ".TP\n"
    ".I /usr/share/doc/trunkline\n"
    "The documents: getting\\-started.md, configuration.md, authentication.md, tls.md and others.\n"
    ".SH SEE ALSO\n"
    ".BR trunkline (1)\n";

/* Prints text for roff; text in backticks becomes bold. */
static void text_print(struct span text, struct buffer *out)
{
    bool bold = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.at[i];
        if (byte == '`') {
            bold = !bold;
            buffer_append_text(out, bold ? "\\fB" : "\\fR");
        } else if (byte == '\\') {
            buffer_append_text(out, "\\e");
        } else if (byte == '-') {
            buffer_append_text(out, "\\-");
        } else if (byte == '"') {
            buffer_append_text(out, "\\(dq");
        } else if (byte == '\'') {
            buffer_append_text(out, "\\(aq");
        } else {
            buffer_append_byte(out, byte);
        }
    }
    invariant(!bold);
}

/* Prints a line of its own, such as "Accepted: a path.". */
static void fact_print(const char *what, const struct buffer *text, struct buffer *out)
{
    if (text->size == 0)
        return;
    buffer_printf(out, ".br\n%s: ", what);
    text_print(buffer_span(text), out);
    buffer_append_text(out, ".\n");
}

static void setting_man(const struct setting *setting, struct buffer *out)
{
    struct buffer text = BUFFER_INIT(4096);
    buffer_printf(out, ".TP\n.B %s\n", setting->name);
    text_print(span_text(setting->help), out);
    buffer_append_byte(out, '\n');
    config_manual_accepts(setting, &text);
    fact_print("Accepted", &text, out);
    buffer_clear(&text);
    if (setting->required)
        buffer_append_text(&text, "none, it is required");
    else
        config_manual_preset(setting, &text);
    fact_print("Default", &text, out);
    if (!setting->reloadable)
        buffer_append_text(out, ".br\n.I restart\n");
    buffer_fini(&text);
}

/* Prints a mapping's own keys, then the parts below it, each under its own heading. */
static void rows_man(const struct setting *rows, const char *path, struct buffer *out)
{
    char below[128];
    for (const struct setting *row = rows; row->name != NULL; row++)
        if (row->rows == NULL)
            setting_man(row, out);
    for (const struct setting *row = rows; row->name != NULL; row++) {
        if (row->rows == NULL)
            continue;
        config_manual_path(row, path, below, sizeof(below));
        buffer_printf(out, ".SS %s\n", below);
        text_print(span_text(row->help), out);
        buffer_append_byte(out, '\n');
        rows_man(row->rows, below, out);
    }
}

void config_print_man(struct buffer *out)
{
    buffer_append_text(out, man_start);
    buffer_append_text(out, ".SS The file itself\n");
    rows_man(config_settings, "", out);
    buffer_append_text(out, man_end);
}
