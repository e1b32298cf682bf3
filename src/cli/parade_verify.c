/* parade_verify.c - `parade verify` and `repair`: what the members of a shard hold. */
#include "base/number.h"
#include "cli/cli.h"
#include "cli/parade_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUCKETS      1024 /* of kv.verify */
#define GROUP        16   /* buckets that are repaired at once */
#define DIFFERENCES  10   /* that are printed */
#define HORIZON_SIZE 64

/* What one member holds, by buckets. */
struct digests {
    uint64_t rows[BUCKETS];
    uint64_t digest[BUCKETS];
};

static bool digests_read(const struct parade_session *session, struct digests *ret)
{
    *ret = (struct digests){0};
    for (uint32_t row = 0; row < parade_session_rows(session); row++) {
        int64_t bucket = parade_session_number(session, row, 0);
        if (bucket < 0 || bucket >= BUCKETS ||
            !number_read(parade_session_cell(session, row, 2), 16, &ret->digest[bucket]))
            return false;
        ret->rows[bucket] = (uint64_t)parade_session_number(session, row, 1);
    }
    return true;
}

/* Asks one member what it held at `asof`; the first one is asked for that moment. */
static bool digests_ask(struct cli_parade *call, size_t index, struct parade_session *session,
                        char asof[HORIZON_SIZE], struct digests *ret)
{
    const struct cli_parade_place *place = &call->places[index];
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "reading %s, %zu of %zu\n", place->name, index + 1, call->place_count);
    if (asof[0] == '\0') {
        if (!cli_parade_ask(call, place, session, "select kv.clock()", NULL, 0))
            return false;
        snprintf(asof, HORIZON_SIZE, "%.*s", SPAN_ARG(parade_session_cell(session, 0, 0)));
    }
    const struct span value = span_text(asof);
    if (!cli_parade_ask(call, place, session,
                        "select bucket, live_rows, digest from kv.verify($1::timestamptz)", &value,
                        1))
        return false;
    if (!digests_read(session, ret)) {
        cli_parade_say(call, place, "kv.verify returned rows that can't be read");
        return false;
    }
    return true;
}

static bool differs(const struct digests *one, const struct digests *other, int bucket)
{
    return one->rows[bucket] != other->rows[bucket] || one->digest[bucket] != other->digest[bucket];
}

static int count_differences(const struct digests *one, const struct digests *other)
{
    int count = 0;
    for (int i = 0; i < BUCKETS; i++)
        count += differs(one, other, i);
    return count;
}

static uint64_t rows_of(const struct digests *digests)
{
    uint64_t rows = 0;
    for (int i = 0; i < BUCKETS; i++)
        rows += digests->rows[i];
    return rows;
}

/* --- verify ----------------------------------------------------------------------------------- */

static void differences_print(const struct cli_parade *call, size_t index,
                              const struct digests *first, const struct digests *other)
{
    int printed = 0, count = count_differences(first, other);
    printf("%s: %" PRIu64 " rows, %d of %d buckets differ from %s\n", call->places[index].name,
           rows_of(other), count, BUCKETS, call->places[0].name);
    for (int i = 0; i < BUCKETS && printed < DIFFERENCES; i++) {
        if (!differs(first, other, i))
            continue;
        printf("  bucket %d: %" PRIu64 " rows, there %" PRIu64 "\n", i, other->rows[i],
               first->rows[i]);
        printed += 1;
    }
}

static bool verify_at(struct cli_parade *call, size_t index, char asof[HORIZON_SIZE],
                      struct digests *ret)
{
    struct parade_session *session = NULL;
    if (!cli_parade_open(call, &call->places[index], &session))
        return false;
    bool asked = digests_ask(call, index, session, asof, ret);
    parade_session_close(&session);
    return asked;
}

static int verify_all(struct cli_parade *call, struct digests *all)
{
    char asof[HORIZON_SIZE] = "";
    int different = 0;
    for (size_t i = 0; i < call->place_count; i++)
        if (!verify_at(call, i, asof, &all[i]))
            return CLI_FAILED;
    printf("%s: %" PRIu64 " rows\n", call->places[0].name, rows_of(&all[0]));
    for (size_t i = 1; i < call->place_count; i++) {
        differences_print(call, i, &all[0], &all[i]);
        different += count_differences(&all[0], &all[i]);
    }
    if (different == 0)
        return CLI_DONE;
    fputs("trunkline parade verify: members differ; rows that are on their way differ too, so run "
          "it again, then trunkline parade repair\n",
          stderr);
    return CLI_FAILED;
}

int cli_parade_verify(struct cli_parade *call)
{
    struct digests *all = calloc(call->place_count, sizeof(*all));
    if (all == NULL) {
        fputs("trunkline parade verify: no memory\n", stderr);
        return CLI_FAILED;
    }
    int status = verify_all(call, all);
    free(all);
    return status;
}

/* --- repair ----------------------------------------------------------------------------------- */

struct repair {
    struct cli_parade *call;
    struct parade_session *sessions[2];
    struct digests digests[2];
    char numbers[2][24]; /* of the instances */
    int64_t copied[2], deleted[2];
};

static bool repair_ask(struct repair *repair, int side, const char *sql, const struct span *values,
                       size_t count)
{
    return cli_parade_ask(repair->call, &repair->call->places[side], repair->sessions[side], sql,
                          values, count);
}

static bool repair_begin(struct repair *repair)
{
    char asof[HORIZON_SIZE] = "";
    for (int side = 0; side < 2; side++) {
        if (!cli_parade_open(repair->call, &repair->call->places[side], &repair->sessions[side]) ||
            !repair_ask(repair, side, "select instance_id from kv_config.my_info", NULL, 0))
            return false;
        snprintf(repair->numbers[side], sizeof(repair->numbers[side]), "%.*s",
                 SPAN_ARG(parade_session_cell(repair->sessions[side], 0, 0)));
    }
    for (int side = 0; side < 2; side++)
        if (!digests_ask(repair->call, (size_t)side, repair->sessions[side], asof,
                         &repair->digests[side]))
            return false;
    return true;
}

/* Each side gets the page that the other one had before: a statement copies its values before it
 * drops the session's rows. */
static bool repair_group(struct repair *repair, const char *buckets)
{
    static const char page[] =
        "select horizon, coalesce(page, '{}') from kv.repair_page($1::int[])";
    static const char apply[] = "select copied, deleted from kv.repair($1::int, $2::int[],"
                                " $3::timestamptz, $4::kv.feed_row[], $5)";
    const struct span wanted = span_text(buckets);
    struct buffer kept = BUFFER_INIT(PARADE_ROWS_MAX);
    char horizon[HORIZON_SIZE];
    bool done = repair_ask(repair, 0, page, &wanted, 1) && repair_ask(repair, 1, page, &wanted, 1);
    if (done) {
        buffer_append_span(&kept, parade_session_cell(repair->sessions[1], 0, 1));
        snprintf(horizon, sizeof(horizon), "%.*s",
                 SPAN_ARG(parade_session_cell(repair->sessions[1], 0, 0)));
    }
    for (int side = 1; side >= 0 && done; side--) {
        struct parade_session *other = repair->sessions[!side];
        const struct span values[] = {
            span_text(repair->numbers[!side]), wanted,
            side == 1 ? parade_session_cell(other, 0, 0) : span_text(horizon),
            side == 1 ? parade_session_cell(other, 0, 1) : buffer_span(&kept),
            repair->call->dry_run ? SPAN("true") : SPAN("false")};
        done = buffer_fault(&kept) == OK &&
               repair_ask(repair, side, apply, values, ARRAY_SIZE(values));
        if (done) {
            repair->copied[side] += parade_session_number(repair->sessions[side], 0, 0);
            repair->deleted[side] += parade_session_number(repair->sessions[side], 0, 1);
        }
    }
    buffer_fini(&kept);
    return done;
}

static bool repair_all(struct repair *repair)
{
    int left = count_differences(&repair->digests[0], &repair->digests[1]);
    struct buffer buckets = BUFFER_INIT(4096);
    bool done = true;
    for (int bucket = 0, used = 0; bucket < BUCKETS && left > 0 && done; bucket++) {
        if (!differs(&repair->digests[0], &repair->digests[1], bucket))
            continue;
        buffer_printf(&buckets, "%s%d", used++ == 0 ? "{" : ",", bucket);
        left -= 1;
        if (used < GROUP && left > 0)
            continue;
        buffer_append(&buckets, "}", 2);
        done = repair_group(repair, (const char *)buckets.at);
        buffer_clear(&buckets);
        used = 0;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "%d buckets left\n", left);
    }
    buffer_fini(&buckets);
    return done;
}

int cli_parade_repair(struct cli_parade *call)
{
    struct repair *repair = calloc(1, sizeof(*repair));
    if (repair == NULL) {
        fputs("trunkline parade repair: no memory\n", stderr);
        return CLI_FAILED;
    }
    repair->call = call;
    bool done = repair_begin(repair) && repair_all(repair);
    for (int side = 0; side < 2; side++) {
        if (done)
            printf("%s: %" PRId64 " rows %scopied, %" PRId64 " %sdeleted\n",
                   call->places[side].name, repair->copied[side], call->dry_run ? "would be " : "",
                   repair->deleted[side], call->dry_run ? "would be " : "");
        parade_session_close(&repair->sessions[side]);
    }
    free(repair);
    return done ? CLI_DONE : CLI_FAILED;
}
