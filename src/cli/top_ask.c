/*
 * top_ask.c - a connection to the console, and the readings of its views.
 */
#include "cli/top_parts.h"

#include "link/link.h"
#include "machine/clock.h"
#include "machine/dns.h"

#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_MAX ((uint32_t)1024 * 1024)

struct top_link {
    struct stream stream;
    struct buffer in;
    struct buffer out;
    uint64_t session;
    bool absent[TOP_VIEWS]; /* views that this daemon does not have */
    char version[TOP_TEXT_SIZE];
};

/* --- connecting ------------------------------------------------------------------------------- */

static fault tls_mode_of(const char *word, enum tls_mode *ret)
{
    static const struct {
        const char *word;
        enum tls_mode mode;
    } modes[] = {{"disable", TLS_MODE_DISABLE},     {"allow", TLS_MODE_PREFER},
                 {"prefer", TLS_MODE_PREFER},       {"require", TLS_MODE_REQUIRE},
                 {"verify-ca", TLS_MODE_VERIFY_CA}, {"verify-full", TLS_MODE_VERIFY_FULL}};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (strcmp(word, modes[i].word) == 0) {
            *ret = modes[i].mode;
            return OK;
        }
    return fault_raise(FAULT_TLS,
                       "found PGSSLMODE %s; accepted: disable, allow, prefer, require, "
                       "verify-ca, verify-full",
                       word);
}

static fault log_in(struct stream *stream, const struct top_options *options,
                    const struct address *address, deadline by)
{
    struct tls_settings settings = {.mode = TLS_MODE_DISABLE, .authorities = options->authorities};
    struct tls_context *tls = NULL;
    if (address->family != ADDRESS_UNIX)
        TRY(tls_mode_of(options->sslmode, &settings.mode));
    if (settings.mode != TLS_MODE_DISABLE)
        TRY(tls_context_new(&settings, &tls));
    struct link_target target = {
        .address = *address, .host = options->host, .tls_mode = settings.mode, .tls = tls};
    struct link_secret secret = {.password = span_text(options->password)};
    static const char parameters[] = "application_name\0trunkline top";
    struct link_login login = {.target = &target,
                               .user = span_text(options->user),
                               .database = span_text(options->database),
                               .parameters = span_of(parameters, sizeof(parameters)),
                               .secret = &secret};
    struct link_reported reported = {.parameters = BUFFER_INIT(MESSAGE_MAX)};
    fault result = link_login(stream, &login, &reported, by);
    buffer_fini(&reported.parameters);
    explicit_bzero(&secret, sizeof(secret));
    tls_context_unref(&tls);
    return result;
}

static fault connect_any(struct stream *stream, const struct top_options *options, deadline by)
{
    struct dns_answer found = {.count = 1};
    fault result = FAULT_NAME;
    if (!address_parse(options->host, options->port, &found.addresses[0]))
        TRY(dns_resolve(options->host, options->port, &found, by));
    for (size_t i = 0; i < found.count && result != OK; i++) {
        result = log_in(stream, options, &found.addresses[i], by);
        if (result != FAULT_REFUSED)
            break;
    }
    return result;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Whether the daemon does not know such a view, or does not show it to this user. */
static bool means_absent(struct span sqlstate)
{
    return span_starts(sqlstate, SPAN("42")) || span_is(sqlstate, "0A000");
}

/* Sends a statement and reads its result into `table`.  An ErrorResponse sets *ret_error. */
static fault ask(struct top_link *link, const char *statement, struct top_table *table,
                 char ret_error[TOP_TEXT_SIZE], bool *ret_absent, deadline by)
{
    struct wire_frame frame = {.type = 0};
    struct wire_error error;
    ret_error[0] = '\0';
    *ret_absent = false;
    size_t start = wire_begin(&link->out, WIRE_QUERY);
    wire_put_text(&link->out, statement);
    wire_end(&link->out, start);
    TRY(link_send(&link->stream, &link->out, by));
    while (frame.type != WIRE_READY) {
        TRY(link_read_message(&link->stream, &link->in, MESSAGE_MAX, &frame, by));
        if (frame.type == WIRE_ROW_DESCRIPTION) {
            TRY(top_table_head(table, frame.body));
        } else if (frame.type == WIRE_DATA_ROW) {
            TRY(top_table_add(table, frame.body));
        } else if (frame.type == WIRE_ERROR) {
            TRY(wire_read_error(frame.body, &error));
            snprintf(ret_error, TOP_TEXT_SIZE, "%.*s", SPAN_ARG(error.message));
            *ret_absent = means_absent(error.sqlstate);
        }
    }
    return OK;
}

static fault ask_version(struct top_link *link, deadline by)
{
    struct top_table table = TOP_TABLE_INIT;
    char error[TOP_TEXT_SIZE];
    bool absent;
    fault result = ask(link, "SHOW VERSION", &table, error, &absent, by);
    const char *version = top_table_cell(&table, 0, top_table_column(&table, "version"));
    if (result == OK && error[0] != '\0')
        result = fault_raise(FAULT_UPSTREAM, "this database is not the console: %s", error);
    else if (result == OK)
        snprintf(link->version, sizeof(link->version), "%s", version != NULL ? version : "");
    top_table_fini(&table);
    return result;
}

fault top_link_open(const struct top_options *options, struct top_link **ret, deadline by)
{
    static uint64_t sessions;
    struct top_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for a connection");
    link->stream = STREAM_INIT;
    link->in = BUFFER_INIT(2 * MESSAGE_MAX);
    link->out = BUFFER_INIT(MESSAGE_MAX);
    link->session = ++sessions;
    fault result = connect_any(&link->stream, options, by);
    if (result == OK)
        result = ask_version(link, by);
    if (result == OK)
        *ret = link;
    else
        top_link_close(&link);
    return result;
}

void top_link_close(struct top_link **link)
{
    if (*link == NULL)
        return;
    stream_close(&(*link)->stream);
    buffer_fini(&(*link)->in);
    buffer_fini(&(*link)->out);
    free(*link);
    *link = NULL;
}

static fault read_view(struct top_link *link, enum top_view view, struct top_reading *reading,
                       deadline by)
{
    char statement[128], error[TOP_TEXT_SIZE];
    if (link->absent[view])
        return OK;
    snprintf(statement, sizeof(statement), "SHOW %s", top_view_names[view]);
    TRY(ask(link, statement, &reading->tables[view], error, &link->absent[view], by));
    reading->at[view] = now_exact();
    reading->has[view] = error[0] == '\0';
    if (view == TOP_VIEW_POOLS && error[0] != '\0')
        return fault_raise(FAULT_UPSTREAM, "the console rejected SHOW POOLS: %s", error);
    return OK;
}

fault top_link_read(struct top_link *link, struct top_reading **ret, deadline by)
{
    struct top_reading *reading = top_reading_new();
    fault result = OK;
    if (reading == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for a reading of the console");
    reading->session = link->session;
    memcpy(reading->version, link->version, sizeof(reading->version));
    for (enum top_view view = 0; view < TOP_VIEWS && result == OK; view++)
        result = read_view(link, view, reading, by);
    if (result == OK)
        *ret = reading;
    else
        top_reading_free(&reading);
    return result;
}
