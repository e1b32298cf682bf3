/* Rows and snapshots of a feed's server. */
#include "flight/feed_query.h"
#include "unit.h"
#include "wire/message.h"

#include <stdio.h>

static struct buffer row = BUFFER_INIT(100000);

/* A DataRow's body; NULL at the end. */
static struct span fields(const char *const *texts)
{
    uint16_t count = 0;
    while (texts[count] != NULL)
        count += 1;
    buffer_clear(&row);
    wire_put_u16(&row, count);
    for (uint16_t i = 0; i < count; i++) {
        wire_put_u32(&row, (uint32_t)strlen(texts[i]));
        wire_put_bytes(&row, span_text(texts[i]));
    }
    return buffer_span(&row);
}
#define ROW(...) fields((const char *const[]){__VA_ARGS__, NULL})

static void stop(void)
{
    buffer_fini(&row);
}

/* --- snapshots -------------------------------------------------------------------------------- */

static struct feed_snapshot snapshot;

static void take(const char *text)
{
    ck_assert_int_eq(feed_read_snapshot(span_text(text), &snapshot), OK);
}

static bool has(uint32_t xid)
{
    return feed_snapshot_has(&snapshot, xid, xid);
}

TEST(a_snapshot_contains_what_is_before_its_end_and_does_not_run)
{
    take("10:20:10,15");
    ck_assert(has(9) && has(11) && has(14) && has(16) && has(19));
    ck_assert(!has(10) && !has(15) && !has(20) && !has(21));
    take("10:10:");
    ck_assert(has(9) && !has(10));
}
END_TEST

TEST(a_range_is_contained_if_all_of_it_is)
{
    take("10:20:10,15");
    ck_assert(feed_snapshot_has(&snapshot, 11, 14));
    ck_assert(feed_snapshot_has(&snapshot, 16, 19));
    ck_assert(feed_snapshot_has(&snapshot, 3, 9));
    ck_assert(!feed_snapshot_has(&snapshot, 9, 11));
    ck_assert(!feed_snapshot_has(&snapshot, 14, 16));
    ck_assert(!feed_snapshot_has(&snapshot, 16, 20));
}
END_TEST

TEST(ids_are_the_lower_halves_of_those_of_a_snapshot)
{
    /* 2^32 = 4294967296: the ids have gone round between these two. */
    take("4294967290:4294967300:4294967294,4294967299");
    ck_assert(has(4294967289u) && has(4294967290u) && has(4294967295u) && has(2));
    ck_assert(!has(4294967294u) && !has(3) && !has(4));
    ck_assert(feed_snapshot_has(&snapshot, 4294967295u, 2));
    ck_assert(!feed_snapshot_has(&snapshot, 4294967290u, 2));
    /* Of the last 2^31 ids before it all are contained, and the next 2^31 are to come. */
    ck_assert(has(4 - 2147483647u) && !has(4 + 2147483647u));
    take("100:100:");
    ck_assert(!has(4294967290u)); /* there was none before the first round */
}
END_TEST

TEST(without_a_snapshot_nothing_is_contained)
{
    snapshot = (struct feed_snapshot){0};
    ck_assert(!has(0) && !has(3) && !has(UINT32_MAX));
}
END_TEST

TEST(of_too_many_running_transactions_the_rest_counts_as_running)
{
    char text[20000];
    int size = snprintf(text, sizeof(text), "1000:9000:");
    for (uint32_t i = 0; i <= FEED_RUNNING_MAX; i++)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "%s%u", i > 0 ? "," : "",
                         1000 + 2 * i);
    take(text);
    ck_assert_uint_eq(snapshot.count, FEED_RUNNING_MAX);
    uint32_t first_left_out = 1000 + 2 * FEED_RUNNING_MAX;
    ck_assert(has(first_left_out - 1) && !has(first_left_out - 2));
    ck_assert(!has(first_left_out) && !has(first_left_out + 1) && !has(8999));
}
END_TEST

TEST(what_is_no_snapshot_is_refused)
{
    static const char *const texts[] = {"",
                                        "1",
                                        "1:",
                                        "1:2",
                                        "a:2:",
                                        "0:2:",
                                        "3:2:",
                                        "1:9:1,",
                                        "1:9:,",
                                        "1:9:x",
                                        "1:9:9",
                                        "2:9:1",
                                        "1:9:4,4",
                                        "1:9:5,4",
                                        "1:9:4 5",
                                        "1:9: 4",
                                        "-1:9:",
                                        "1:9:4,",
                                        "99999999999999999999:9:"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        ck_assert_msg(feed_read_snapshot(span_text(texts[i]), &snapshot) == FAULT_PROTOCOL, "%s",
                      texts[i]);
}
END_TEST

/* --- rows ------------------------------------------------------------------------------------- */

static struct feed_facts facts;

TEST(facts_are_read_and_judged)
{
    ck_assert_int_eq(feed_read_facts(ROW("f", "-5", "3", "1700000000000000", "150018", "t",
                                         "16777216", "8192", "t"),
                                     &facts),
                     OK);
    ck_assert_uint_eq(facts.system, (uint64_t)-5);
    ck_assert_uint_eq(facts.timeline, 3);
    ck_assert_uint_eq(facts.instance, 1700000000000000);
    ck_assert_uint_eq(facts.segment, 16777216);
    ck_assert_ptr_null(feed_facts_refusal(&facts));
}
END_TEST

static void refused(const char *why)
{
    const char *text = feed_facts_refusal(&facts);
    ck_assert_msg(text != NULL && strstr(text, why) != NULL, "%s: %s", why, text);
}

TEST(a_server_that_cannot_feed_is_refused_by_a_reason)
{
    const struct feed_facts good = {
        .version = 150018, .logical = true, .segment = 1 << 24, .page = 8192, .setup = true};
    facts = good;
    ck_assert_ptr_null(feed_facts_refusal(&facts));
    facts.setup = false;
    refused("event triggers");
    facts = good;
    facts.logical = false;
    refused("wal_level");
    facts = good;
    facts.standby = true;
    refused("standby");
    facts = good;
    facts.version = 120020;
    refused("PostgreSQL 13");
    facts = good;
    facts.page = 16384;
    refused("8192");
    facts = good;
    facts.segment = 3 << 20;
    refused("log");
}
END_TEST

TEST(a_row_of_a_probe_is_read)
{
    static struct feed_probe_row probe;
    ck_assert_int_eq(
        feed_read_probe(ROW("67108904", "67108864", "10:20:15", "abc 1", "1.5"), &probe), OK);
    ck_assert_uint_eq(probe.inserted, 67108904);
    ck_assert_uint_eq(probe.flushed, 67108864);
    ck_assert_uint_eq(probe.snapshot.count, 1);
    ck_assert_str_eq(probe.seen, "10:20:15");
    ck_assert_str_eq(probe.digest, "abc 1");
    ck_assert_str_eq(probe.configured, "1.5");
    /* The server has compared the snapshots. */
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", "10:20:15", "", "1.5"), &probe), OK);
    ck_assert_str_eq(probe.digest, "");
    bool there = false;
    ck_assert_int_eq(feed_read_setup(ROW("t"), &there), OK);
    ck_assert(there);
}
END_TEST

TEST(a_probe_names_the_snapshot_that_it_is_compared_with)
{
    struct buffer text = BUFFER_INIT(1024);
    feed_put_probe(&text, "10:20:15");
    ck_assert(span_is(buffer_span(&text), "EXECUTE trunkline_probe('10:20:15')"));
    buffer_fini(&text);
}
END_TEST

/* It is not named then, so the next probe has a digest whatever its snapshot is. */
TEST(the_text_of_a_long_snapshot_is_not_kept)
{
    static struct feed_probe_row probe;
    char text[FEED_SNAPSHOT_MAX + 8] = "100:900:";
    size_t size = strlen(text);
    for (size_t id = 100; size < FEED_SNAPSHOT_MAX; id++)
        size += (size_t)snprintf(text + size, 5, "%zu,", id);
    text[size - 1] = '\0'; /* the last comma */
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", text, "d", "1.5"), &probe), OK);
    ck_assert_uint_eq(strlen(text), FEED_SNAPSHOT_MAX);
    ck_assert_str_eq(probe.seen, text);
    text[size - 1] = ',';
    memcpy(text + size, "899", 4);
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", text, "d", "1.5"), &probe), OK);
    ck_assert_str_eq(probe.seen, "");
}
END_TEST

TEST(other_rows_are_refused)
{
    static struct feed_probe_row probe;
    uint64_t id;
    bool setup;
    char digest[FEED_DIGEST_MAX + 2];
    memset(digest, 'd', sizeof(digest) - 1);
    digest[sizeof(digest) - 1] = '\0';
    const struct span rows[] = {SPAN(""),
                                SPAN("\0"),
                                SPAN("\0\5"),
                                SPAN("\0\1\xff\xff\xff\xff"),
                                SPAN("\0\1\0\0\0\5abc"),
                                SPAN("\0\1\0\0\0\1ab")};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        ck_assert_int_eq(feed_read_probe(rows[i], &probe), FAULT_PROTOCOL);
        ck_assert_int_eq(feed_read_facts(rows[i], &facts), FAULT_PROTOCOL);
        ck_assert_int_eq(feed_read_marker(rows[i], &id), FAULT_PROTOCOL);
    }
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", "1:1:", digest, "2"), &probe), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", "1:1:", "d", ""), &probe), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", "1:1:", "d", digest), &probe), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_probe(ROW("1", "1", "1:1", "d", "2"), &probe), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_probe(ROW("1", "", "1:1:", "d", "2"), &probe), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_probe(ROW("1.5", "1", "1:1:", "d", "2"), &probe), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_setup(ROW("yes"), &setup), FAULT_PROTOCOL);
    ck_assert_int_eq(feed_read_marker(ROW("12"), &id), OK);
    ck_assert_uint_eq(id, 12);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_snapshot_contains_what_is_before_its_end_and_does_not_run,
        a_range_is_contained_if_all_of_it_is,
        ids_are_the_lower_halves_of_those_of_a_snapshot,
        without_a_snapshot_nothing_is_contained,
        of_too_many_running_transactions_the_rest_counts_as_running,
        what_is_no_snapshot_is_refused,
        facts_are_read_and_judged,
        a_server_that_cannot_feed_is_refused_by_a_reason,
        a_row_of_a_probe_is_read,
        a_probe_names_the_snapshot_that_it_is_compared_with,
        the_text_of_a_long_snapshot_is_not_kept,
        other_rows_are_refused,
        NULL,
    };
    return unit_run("feed_query", tests, NULL, stop);
}
