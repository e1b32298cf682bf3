#include "clients/batch.h"
#include "clients/behaviours.h"
#include "clients/extra.h"
#include "model/model.h"
#include "oracle/answers.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * Answers that clients share: texts that are the same for all, of registers that all clients write
 * (oracle/answers.c).
 */

/* --- reads ------------------------------------------------------------------------------------ */

/* What the view "seen" shows behind a value, for a client that has these settings. */
static const char *context_of(const struct sim_client *client)
{
    static const char *const contexts[SETTING_VALUES] = {" public joe 12", " public joe 13",
                                                         " public joe 21"};
    return contexts[client->now.values[SETTING_ZONE]];
}

static enum answers_mode draw_mode(struct sim_client *client)
{
    static const enum answers_mode modes[] = {ANSWERS_DEDUPE, ANSWERS_TTL_OF, ANSWERS_STRICT,
                                              ANSWERS_STRICT};
    uint32_t lot = sim_client_draw(client, ARRAY_SIZE(modes));
    return scenario_has(KIND_strict_answers) ? ANSWERS_STRICT : modes[lot];
}

/* Mostly the same row. */
static void read_draw(struct sim_client *client, struct answers_read *read)
{
    *read = (struct answers_read){.mode = draw_mode(client), .key = 1};
    uint32_t lot = sim_client_draw(client, 10);
    read->table = lot < 4;
    if (lot == 0)
        read->key = 0;
    else if (lot == 1 || lot == 4)
        read->key = 2;
    else if (lot < 4)
        read->number = true;
    else if (lot < 8)
        read->context = context_of(client);
}

/* The rules match by the comment.  `value`: that of the key; NULL: a parameter. */
static void read_text(const struct answers_read *read, const char *value, char text[CLIENT_TEXT])
{
    const char *mode = answers_mode_names[read->mode];
    const char *table = read->context != NULL ? "seen" : model_register_names[read->table];
    if (read->key == 0)
        snprintf(text, CLIENT_TEXT, "SELECT /*%s*/ max(v) FROM %s", mode, table);
    else
        snprintf(text, CLIENT_TEXT, "SELECT /*%s*/ v%s FROM %s WHERE k = %s", mode,
                 read->number ? "::int4" : "", table, value == NULL ? "$1" : value);
}

static void expect_read(const struct answers_read *read, const char *text,
                        struct expectation *expected)
{
    *expected = (struct expectation){
        .what = EXPECT_ANSWER, .has_rows = true, .rows = 1, .tag = "SELECT 1", .read = read};
    snprintf(expected->text, CLIENT_TEXT, "%.*s", CLIENT_TEXT - 1, text);
    snprintf(expected->label, sizeof(expected->label), "%s", read->key == 0 ? "max" : "v");
}

/* Bind and Execute.  `value`: of the parameter; NULL: it has none. */
static void batch_bound(struct batch *batch, const char *name, const char *value,
                        const struct expectation *expected)
{
    struct sim_client *client = batch->client;
    struct expectation next = {.what = EXPECT_BOUND};
    put_bind(client, "", name, value);
    batch_expect(batch, &next);
    if (sim_client_one_in(client, 3)) {
        put_target(client, WIRE_DESCRIBE, 'P', "");
        next.what = EXPECT_ROWS;
        memcpy(next.label, expected->label, sizeof(next.label));
        batch_expect(batch, &next);
    }
    put_execute(client, "", 0);
    batch_expect(batch, expected);
    batch_sync(batch);
    trace("client", client->number, "binds %s and executes '%s': %s", value != NULL ? value : "-",
          name, expected->text);
}

static void batch_parse(struct batch *batch, const char *name, const char *text)
{
    batch->anonymous = true;
    put_parse(batch->client, name, text);
    batch_expect(batch, &(struct expectation){.what = EXPECT_PARSED});
}

/* A statement with a name is prepared, executed and closed, each by itself. */
static fault run_named(struct sim_client *client, struct answers_read *read, const char *value,
                       const struct expectation *expected)
{
    struct batch batch;
    char name[24];
    snprintf(name, sizeof(name), "shared %u", ++client->statements);
    batch_begin(&batch, client);
    batch_parse(&batch, name, expected->text);
    batch_sync(&batch);
    TRY(batch_run(&batch));
    if (batch.any_failed)
        return OK;
    for (uint32_t count = 1 + sim_client_draw(client, 3); count > 0; count--) {
        batch_begin(&batch, client);
        batch.anonymous = true;
        batch_bound(&batch, name, value, expected);
        answers_ask(read);
        TRY(batch_run(&batch));
    }
    batch_begin(&batch, client);
    batch.anonymous = true;
    put_target(client, WIRE_CLOSE, 'S', name);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_CLOSED});
    batch_sync(&batch);
    return batch_run(&batch);
}

static fault run_read(struct sim_client *client, struct answers_read *read)
{
    struct batch batch;
    struct statement statement;
    char value[8];
    uint32_t lot = sim_client_draw(client, 6);
    bool bound = lot < 3 && read->key > 0 && sim_client_one_in(client, 2);
    snprintf(value, sizeof(value), "%u", read->key);
    read_text(read, bound ? NULL : value, statement.text);
    expect_read(read, statement.text, &statement.expected);
    if (lot == 0 && client->status == WIRE_TX_IDLE)
        return run_named(client, read, bound ? value : NULL, &statement.expected);
    batch_begin(&batch, client);
    batch.anonymous = true;
    if (lot < 3) {
        batch_parse(&batch, "", statement.text);
        batch_bound(&batch, "", bound ? value : NULL, &statement.expected);
    } else {
        batch_query(&batch, &statement);
    }
    answers_ask(read);
    TRY(batch_run(&batch));
    /* The unnamed statement is there, and may be bound again. */
    if (lot >= 3 || batch.any_failed || client->status != WIRE_TX_IDLE ||
        sim_client_one_in(client, 2))
        return OK;
    batch_begin(&batch, client);
    batch.anonymous = true;
    batch_bound(&batch, "", bound ? value : NULL, &statement.expected);
    answers_ask(read);
    return batch_run(&batch);
}

/* --- writes ----------------------------------------------------------------------------------- */

/* A value that is not greater is left out: another client was faster. */
static void statement_grow(struct sim_client *client, struct statement *statement, uint32_t table,
                           uint32_t key, const char *value)
{
    statement_make(client, statement, "UPDATE 1", EFFECT_NONE,
                   "UPDATE %s SET v = '%s' WHERE k = %u AND v < '%s'", model_register_names[table],
                   value, key, value);
    statement->expected.may_miss = true;
}

/* *ret_done: without an error, and a row was written. */
static fault run_write(struct sim_client *client, const struct statement *statement, bool *ret_done)
{
    struct batch batch;
    batch_begin(&batch, client);
    if (sim_client_one_in(client, 2)) {
        batch_query(&batch, statement);
    } else {
        batch_extended(&batch, statement, sim_client_one_in(client, 3));
        batch_sync(&batch);
    }
    TRY(batch_run(&batch));
    *ret_done = !batch.any_failed && !batch.missed;
    return OK;
}

static fault write_alone(struct sim_client *client, uint32_t table, uint32_t key)
{
    char text[ANSWERS_VALUE];
    struct statement statement;
    bool done = false;
    uint32_t value = answers_next(table, text);
    statement_grow(client, &statement, table, key, text);
    TRY(run_write(client, &statement, &done));
    if (done)
        answers_acknowledged(table, key, value);
    return OK;
}

/* Reads in a transaction are the client's own: they see what it has written. */
static fault write_in_transaction(struct sim_client *client, uint32_t table, uint32_t key)
{
    char text[ANSWERS_VALUE];
    struct statement statement;
    struct answers_read read;
    bool written = false, done = false;
    TRY(sim_client_start_transaction(client));
    if (client->status != WIRE_TX_ACTIVE) /* refused */
        return OK;
    uint32_t value = answers_next(table, text);
    statement_grow(client, &statement, table, key, text);
    TRY(run_write(client, &statement, &written));
    if (client->status == WIRE_TX_ACTIVE && sim_client_one_in(client, 2)) {
        read = (struct answers_read){
            .mode = draw_mode(client), .table = table, .key = key, .own = written ? value : 0};
        TRY(run_read(client, &read));
    }
    if (client->status != WIRE_TX_ACTIVE || sim_client_one_in(client, 4))
        return sim_client_roll_back(client);
    statement_make(client, &statement, "COMMIT", EFFECT_COMMIT, "COMMIT WORK");
    TRY(run_write(client, &statement, &done));
    if (done && written)
        answers_acknowledged(table, key, value);
    return OK;
}

/* --- behaviours ------------------------------------------------------------------------------- */

fault behave_answers(struct sim_client *client)
{
    struct answers_read read;
    for (uint32_t count = 3 + sim_client_draw(client, 6); count > 0; count--) {
        uint32_t lot = sim_client_draw(client, scenario_has(KIND_strict_answers) ? 40 : 10);
        uint32_t table = sim_client_one_in(client, 3);
        uint32_t key = 1 + sim_client_one_in(client, 6);
        if (lot < 2) {
            TRY(write_in_transaction(client, table, key));
        } else if (lot < 4) {
            TRY(write_alone(client, table, key));
        } else {
            read_draw(client, &read);
            for (uint32_t same = 1 + sim_client_draw(client, 4); same > 0; same--)
                TRY(run_read(client, &read));
        }
        if (sim_client_one_in(client, 3))
            TRY(sim_client_pause(client, sim_client_one_in(client, 4) ? 150000 : 3000));
    }
    return OK;
}

/* Whether another user than joe may log in. */
static bool has_other_user(void)
{
    return scenario.setup.method == METHOD_TRUST && !scenario_has(KIND_hba) &&
           !scenario_has(KIND_certificates) && !scenario_has(KIND_auth_query);
}

/* Another user, or another search_path: the same text has another answer. */
fault behave_answers_apart(struct sim_client *client)
{
    static const char path[] = "search_path\0other, public";
    static const char *const contexts[2][2] = {{" public joe 12", " other joe 12"},
                                               {" public joey 12", " other joey 12"}};
    struct extra_conn extra;
    struct link_target target;
    bool joey = has_other_user() && sim_client_one_in(client, 2);
    bool other = !joey || sim_client_one_in(client, 2);
    struct link_secret secret = {.password = SPAN(SCENARIO_PASSWORD)};
    sim_client_target(client, &target);
    struct link_login login = {.target = &target,
                               .user = joey ? SPAN("joey") : SPAN("joe"),
                               .database = SPAN("app"),
                               .parameters = other ? span_of(path, sizeof(path)) : SPAN_NONE,
                               .secret = &secret};
    extra_init(&extra, client);
    fault done = extra_login(&extra, &login);
    for (uint32_t count = 1 + sim_client_draw(client, 3); done == OK && count > 0; count--) {
        char text[CLIENT_TEXT], answer[CLIENT_TEXT];
        struct answers_read read = {
            .mode = draw_mode(client), .key = 1, .context = contexts[joey][other]};
        read_text(&read, "1", text);
        answers_ask(&read);
        done = extra_query(&extra, text, answer);
        if (done == OK && answer[0] != '\0')
            answers_check(client, &read, span_text(answer));
    }
    CHECK(done == OK || extra_is_excused(&extra) || scenario_has(KIND_claim_timeout),
          "the extra connection of client %u can't log in: %s", client->number, fault_detail(done));
    extra_close(&extra);
    return OK;
}

/* --- past the daemon -------------------------------------------------------------------------- */

/* One row, or all of a table; a row that is deleted and inserted again; rows of both tables, of
 * which one may be rolled back; another definition of the view. */
static void outside_text(struct sim_client *client, char text[4 * CLIENT_TEXT])
{
    char a[ANSWERS_VALUE], b[ANSWERS_VALUE];
    uint32_t key = 1 + sim_client_one_in(client, 3);
    uint32_t table = sim_client_draw(client, 2);
    const char *name = model_register_names[table];
    uint32_t lot = sim_client_draw(client, 8);
    if (lot < 2) {
        snprintf(text, 4 * CLIENT_TEXT, "ALTER VIEW seen SET (security_barrier = off)");
    } else if (lot == 2) {
        answers_next(table, a);
        snprintf(text, 4 * CLIENT_TEXT,
                 "BEGIN; DELETE FROM %s WHERE k = %u AND v < '%s'; INSERT INTO %s VALUES (%u, "
                 "'%s'); COMMIT",
                 name, key, a, name, key, a);
    } else if (lot == 3) {
        answers_next(0, a);
        answers_next(1, b);
        snprintf(
            text, 4 * CLIENT_TEXT,
            "BEGIN; UPDATE reg_b SET v = '%s' WHERE k = %u AND v < '%s'; SAVEPOINT one; UPDATE "
            "reg_a SET v = '%s' WHERE k = %u AND v < '%s'; %s; COMMIT",
            b, key, b, a, key, a, sim_client_one_in(client, 2) ? "ROLLBACK TO one" : "RELEASE one");
    } else if (lot == 4) {
        answers_next(table, a);
        snprintf(text, 4 * CLIENT_TEXT,
                 "BEGIN; UPDATE %s SET v = '%s' WHERE k = 1 AND v < '%s'; UPDATE %s SET v = '%s' "
                 "WHERE k = 2 AND v < '%s'; COMMIT",
                 name, a, a, name, a, a);
    } else {
        answers_next(table, a);
        snprintf(text, 4 * CLIENT_TEXT, "UPDATE %s SET v = '%s' WHERE k = %u AND v < '%s'", name, a,
                 key, a);
    }
}

/* Writes of which the daemon only hears from the log. */
fault behave_answers_outside(struct sim_client *client)
{
    struct extra_conn extra;
    struct link_target target = {
        .address = {.family = ADDRESS_IPV4, .port = SCENARIO_SERVER_PORT, .bytes = {127, 0, 0, 1}}};
    struct link_secret secret = {.password = SPAN_NONE};
    struct link_login login = {.target = &target,
                               .user = SPAN(SCENARIO_OUTSIDER),
                               .database = SPAN("app"),
                               .secret = &secret};
    if (scenario_has(KIND_impostors))
        return OK;
    extra_init(&extra, client);
    fault done = extra_login(&extra, &login);
    for (uint32_t count = 1 + sim_client_draw(client, 5); done == OK && count > 0; count--) {
        char text[4 * CLIENT_TEXT], answer[CLIENT_TEXT];
        outside_text(client, text);
        done = extra_query(&extra, text, answer);
        if (done == OK && sim_client_one_in(client, 2))
            TRY(sim_client_pause(client, 5000));
    }
    extra_close(&extra);
    return OK;
}
