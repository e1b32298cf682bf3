/* The cache in memory: keys, ages, generations, admission, flushes, and threads. */
#include "flight/l1.h"
#include "flight/l1_parts.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NOW ((moment){1000000})

static struct generations_table *table;
static struct answer_memory memory;
static struct l1 *l1;
static uint64_t database;

static void setup(void)
{
    table = generations_table_new(4096);
    answer_memory_init(&memory, 256 << 20);
    l1 = l1_new(1 << 20, table);
    ck_assert(table != NULL && l1 != NULL);
    database = generations_database(table, SPAN("service"), SPAN("shop"));
}

/* Each test gives back all that it made. */
static void teardown(void)
{
    l1_free(&l1);
    generations_table_free(&table);
    ck_assert_uint_eq(answer_memory_bytes(&memory), 0);
}

/* A complete answer of `size` bytes, the first of which are the number. */
static struct answer *answer_of(uint64_t number, size_t size)
{
    struct answer *answer = answer_new(&memory, 16 << 20);
    ck_assert_ptr_nonnull(answer);
    uint8_t *bytes = calloc(1, MAX_OF(size, sizeof(number)));
    memcpy(bytes, &number, sizeof(number));
    ck_assert_int_eq(answer_append(answer, span_of(bytes, MAX_OF(size, sizeof(number)))), OK);
    answer_end(answer, ANSWER_COMPLETE);
    free(bytes);
    return answer;
}

static uint64_t number_in(struct answer *answer)
{
    uint64_t number;
    struct answer_reader reader;
    ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
    memcpy(&number, answer_peek(&reader).at, sizeof(number));
    answer_close(&reader);
    return number;
}

static struct l1_key key_of(const char *text)
{
    struct l1_key key;
    l1_key_init(l1, span_text(text), &key);
    return key;
}

static struct generations_reads reads_of(uint32_t relation)
{
    struct generations_reads reads;
    generations_reads_init(table, &reads, database);
    ck_assert(generations_reads_table(table, &reads, relation));
    return reads;
}

static struct l1_offer offer_of(const char *text, const struct generations_reads *reads)
{
    struct l1_offer offer = {.key = key_of(text),
                             .text = span_text(text),
                             .made = NOW,
                             .expires = later(NOW, sec(10)),
                             .stale_until = later(NOW, sec(10)),
                             .reads = reads,
                             .flushes = l1_flushes(l1)};
    if (reads != NULL)
        ck_assert(generations_capture(table, reads, &offer.captured));
    return offer;
}

static enum l1_stored store(struct l1_offer *offer, uint64_t number, size_t size)
{
    offer->answer = answer_of(number, size);
    enum l1_stored stored = l1_store(l1, offer, NOW);
    answer_unref(&offer->answer);
    return stored;
}

static void put(const char *text, uint64_t number)
{
    struct l1_offer offer = offer_of(text, NULL);
    ck_assert_int_eq(store(&offer, number, 100), L1_STORED);
}

/* Looks a key up; the number in its answer, if there is one. */
static enum l1_outcome find(const char *text, moment at, uint64_t *number)
{
    struct l1_key key = key_of(text);
    struct l1_found found;
    enum l1_outcome outcome = l1_find(l1, &key, at, later(at, sec(1)), &found);
    ck_assert((found.answer != NULL) == (outcome != L1_MISS && outcome != L1_HELD));
    if (found.answer != NULL && number != NULL)
        *number = number_in(found.answer);
    answer_unref(&found.answer);
    return outcome;
}

static struct l1_stats stats(void)
{
    struct l1_stats stats;
    l1_stats(l1, &stats);
    return stats;
}

/* --- keys ------------------------------------------------------------------------------------- */

TEST(an_answer_is_found_by_its_key)
{
    uint64_t number = 0;
    put("select 1", 1);
    put("select 2", 2);
    ck_assert_int_eq(find("select 1", NOW, &number), L1_HIT);
    ck_assert_uint_eq(number, 1);
    ck_assert_int_eq(find("select 2", NOW, &number), L1_HIT);
    ck_assert_uint_eq(number, 2);
    ck_assert_int_eq(find("select 3", NOW, NULL), L1_MISS);
    struct l1_key key = key_of("select 1");
    ck_assert(l1_remove(l1, &key));
    ck_assert(!l1_remove(l1, &key));
    ck_assert_int_eq(find("select 1", NOW, NULL), L1_MISS);
    struct l1_stats counts = stats();
    ck_assert_uint_eq(counts.entries, 1);
    ck_assert_uint_eq(counts.hits, 2);
    ck_assert_uint_eq(counts.misses, 2);
}
END_TEST

TEST(two_keys_with_one_digest_are_two_entries)
{
    struct l1_offer one = offer_of("select 1", NULL), two = offer_of("select 2", NULL);
    struct l1_found found;
    two.key.low = one.key.low;
    two.key.high = one.key.high;
    ck_assert_int_eq(store(&one, 1, 100), L1_STORED);
    ck_assert_int_eq(l1_find(l1, &two.key, NOW, NOW, &found), L1_MISS);
    ck_assert_int_eq(store(&two, 2, 100), L1_STORED);
    ck_assert_int_eq(l1_find(l1, &one.key, NOW, NOW, &found), L1_HIT);
    ck_assert_uint_eq(number_in(found.answer), 1);
    answer_unref(&found.answer);
    ck_assert_int_eq(l1_find(l1, &two.key, NOW, NOW, &found), L1_HIT);
    ck_assert_uint_eq(number_in(found.answer), 2);
    answer_unref(&found.answer);
}
END_TEST

TEST(digests_depend_on_a_secret)
{
    struct l1 *other = l1_new(1 << 20, table);
    struct l1_key here = key_of("select 1"), again = key_of("select 1"), there;
    l1_key_init(other, SPAN("select 1"), &there);
    ck_assert(here.low == again.low && here.high == again.high);
    ck_assert(here.low != there.low && here.high != there.high);
    l1_free(&other);
}
END_TEST

TEST(an_entry_is_replaced_by_a_later_execution_only)
{
    uint64_t number = 0;
    struct l1_offer older = offer_of("select 1", NULL), newer = older;
    newer.made = later(NOW, ms(1));
    ck_assert_int_eq(store(&newer, 2, 100), L1_STORED);
    ck_assert_int_eq(store(&older, 1, 100), L1_OLD);
    ck_assert_int_eq(find("select 1", NOW, &number), L1_HIT);
    ck_assert_uint_eq(number, 2);
    newer.made = later(NOW, ms(2));
    ck_assert_int_eq(store(&newer, 3, 5000), L1_STORED);
    ck_assert_int_eq(find("select 1", NOW, &number), L1_HIT);
    ck_assert_uint_eq(number, 3);
    ck_assert_uint_eq(stats().entries, 1);
}
END_TEST

/* --- ages ------------------------------------------------------------------------------------- */

TEST(an_entry_expires_at_its_moment)
{
    put("select 1", 1);
    ck_assert_int_eq(find("select 1", (moment){later(NOW, sec(10)).us - 1}, NULL), L1_HIT);
    ck_assert_int_eq(find("select 1", later(NOW, sec(10)), NULL), L1_MISS);
    ck_assert_uint_eq(stats().expired, 1);
    ck_assert_uint_eq(stats().entries, 0);
    struct l1_offer offer = offer_of("select 1", NULL);
    offer.expires = NOW;
    ck_assert_int_eq(store(&offer, 1, 100), L1_OLD);
}
END_TEST

TEST(one_caller_refreshes_a_stale_entry_and_the_others_get_it)
{
    struct l1_offer offer = offer_of("select 1", NULL);
    moment old = later(NOW, sec(12));
    uint64_t number;
    offer.stale_until = later(NOW, sec(20));
    ck_assert_int_eq(store(&offer, 1, 100), L1_STORED);
    ck_assert_int_eq(find("select 1", old, &number), L1_REFRESH);
    ck_assert_uint_eq(number, 1);
    ck_assert_int_eq(find("select 1", old, &number), L1_STALE);
    ck_assert_uint_eq(number, 1);
    /* The refresh is given up after its time, or at once if it failed. */
    ck_assert_int_eq(find("select 1", later(old, ms(999)), NULL), L1_STALE);
    ck_assert_int_eq(find("select 1", later(old, sec(1)), NULL), L1_REFRESH);
    l1_refresh_failed(l1, &offer.key);
    ck_assert_int_eq(find("select 1", later(old, sec(1)), NULL), L1_REFRESH);
    /* The refreshed entry is fresh. */
    struct l1_offer fresh = offer_of("select 1", NULL);
    fresh.made = old;
    fresh.expires = fresh.stale_until = later(old, sec(10));
    ck_assert_int_eq(store(&fresh, 2, 100), L1_STORED);
    ck_assert_int_eq(find("select 1", later(old, sec(1)), &number), L1_HIT);
    ck_assert_uint_eq(number, 2);
    ck_assert_int_eq(find("select 1", later(old, sec(10)), NULL), L1_MISS);
}
END_TEST

TEST(a_time_to_live_is_shortened_and_never_longer)
{
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t ttl = l1_jitter(sec(10), 20).us;
        least = MIN_OF(least, ttl);
        most = MAX_OF(most, ttl);
    }
    ck_assert_int_ge(least, sec(8).us);
    ck_assert_int_lt(least, sec(9).us);
    ck_assert_int_le(most, sec(10).us);
    ck_assert_int_gt(most, sec(9).us);
    ck_assert_int_eq(l1_jitter(sec(10), 0).us, sec(10).us);
    ck_assert_int_eq(l1_jitter(NO_LIMIT, 20).us, NO_LIMIT.us);
}
END_TEST

/* --- writes ----------------------------------------------------------------------------------- */

static struct generations_writes write_of(uint32_t relation)
{
    struct generations_writes writes;
    generations_writes_init(&writes, database);
    generations_writes_table(table, &writes, relation);
    return writes;
}

TEST(a_write_ends_the_entries_of_its_table)
{
    struct generations_reads reads = reads_of(1);
    struct l1_offer offer = offer_of("select from t", &reads);
    struct generations_writes write = write_of(1);
    ck_assert_int_eq(store(&offer, 1, 100), L1_STORED);
    put("select 1", 1);
    ck_assert_int_eq(find("select from t", NOW, NULL), L1_HIT);
    generations_doubt(table, &write);
    ck_assert_int_eq(find("select from t", NOW, NULL), L1_HELD);
    ck_assert_int_eq(find("select 1", NOW, NULL), L1_HIT);
    generations_doubt_end(table, &write); /* rolled back */
    ck_assert_int_eq(find("select from t", NOW, NULL), L1_HIT);
    generations_raise(table, &write);
    ck_assert_int_eq(find("select from t", NOW, NULL), L1_MISS);
    ck_assert_int_eq(find("select 1", NOW, NULL), L1_HIT);
    ck_assert_uint_eq(stats().changed, 1);
    ck_assert_uint_eq(stats().held, 1);
    ck_assert_uint_eq(stats().entries, 1);
}
END_TEST

TEST(an_answer_from_before_a_write_is_not_stored)
{
    struct generations_reads reads = reads_of(1);
    struct l1_offer before = offer_of("select from t", &reads);
    struct generations_writes write = write_of(1);
    generations_doubt(table, &write);
    ck_assert_int_eq(store(&before, 1, 100), L1_IN_DOUBT);
    generations_raise(table, &write);
    ck_assert_int_eq(store(&before, 1, 100), L1_CHANGED);
    generations_doubt_end(table, &write);
    ck_assert_int_eq(store(&before, 1, 100), L1_CHANGED);
    struct l1_offer behind = offer_of("select from t", &reads);
    ck_assert_int_eq(store(&behind, 2, 100), L1_STORED);
    ck_assert_uint_eq(stats().refused, 3);
}
END_TEST

/* --- bytes and admission ---------------------------------------------------------------------- */

TEST(bytes_are_bounded_and_counted)
{
    char text[64];
    for (int i = 0; i < 20000; i++) {
        struct l1_stats counts = stats();
        ck_assert_uint_le(counts.bytes, counts.bytes_max);
        snprintf(text, sizeof(text), "select %d", i);
        (void)find(text, NOW, NULL);
        struct l1_offer offer = offer_of(text, NULL);
        (void)store(&offer, 1, (size_t)(i * 37) % 3000);
    }
    struct l1_stats counts = stats();
    ck_assert_uint_gt(counts.bytes, counts.bytes_max / 2);
    ck_assert_uint_gt(counts.rejected, 1000);
    /* The entries' own blocks are the difference. */
    uint64_t own = counts.bytes - answer_memory_bytes(&memory);
    ck_assert_uint_ge(own, counts.entries * sizeof(struct l1_entry));
    ck_assert_uint_lt(own, counts.entries * (sizeof(struct l1_entry) + 40));
    l1_bound(l1, L1_BYTES_MIN, NOW);
    ck_assert_uint_le(stats().bytes, L1_BYTES_MIN);
    ck_assert_uint_gt(stats().bytes, 0);
}
END_TEST

TEST(an_answer_that_is_too_large_is_not_stored)
{
    struct l1_offer offer = offer_of("select 1", NULL);
    ck_assert_int_eq(store(&offer, 1, 2 << 20), L1_TOO_LARGE);
    ck_assert_int_eq(find("select 1", NOW, NULL), L1_MISS);
    uint8_t *longer = calloc(1, L1_KEY_MAX + 1);
    l1_key_init(l1, span_of(longer, L1_KEY_MAX + 1), &offer.key);
    offer.text = SPAN_NONE;
    ck_assert_int_eq(store(&offer, 1, 100), L1_TOO_LARGE);
    l1_key_init(l1, SPAN("select 1"), &offer.key);
    offer.tags = span_of(longer, L1_TAGS_MAX + 1);
    ck_assert_int_eq(store(&offer, 1, 100), L1_TOO_LARGE);
    free(longer);
}
END_TEST

/* What is asked for often stays when a scan of other keys passes. */
TEST(a_scan_does_not_evict_what_is_asked_for_often)
{
    char text[64];
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < 200; i++) {
            snprintf(text, sizeof(text), "often %d", i);
            if (find(text, NOW, NULL) != L1_HIT)
                put(text, 1);
        }
    for (int i = 0; i < 30000; i++) {
        snprintf(text, sizeof(text), "once %d", i);
        ck_assert_int_eq(find(text, NOW, NULL), L1_MISS);
        put(text, 1);
    }
    uint32_t hits = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "often %d", i);
        hits += find(text, NOW, NULL) == L1_HIT;
    }
    ck_assert_uint_gt(hits, 150); /* LRU has none left */
}
END_TEST

/* A large answer that is asked for often gets room from many small ones that are not. */
TEST(a_large_answer_is_admitted_in_place_of_many_small_ones)
{
    char text[64];
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "small %d", i);
        (void)find(text, NOW, NULL);
        put(text, 1);
    }
    int admitted = 0;
    for (int i = 0; i < 15 && admitted < 2; i++) {
        struct l1_offer offer = offer_of("large", NULL);
        if (find("large", NOW, NULL) == L1_HIT)
            admitted += 1;
        else
            ck_assert_int_eq(store(&offer, 1, 200000), L1_STORED);
    }
    ck_assert_int_eq(admitted, 2);
    ck_assert_uint_le(stats().bytes, stats().bytes_max);
}
END_TEST

/* Entries that a write has ended make room first, whatever they were worth. */
TEST(dead_entries_are_evicted_first)
{
    struct generations_reads reads = reads_of(1);
    struct generations_writes write = write_of(1);
    char text[64];
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(text, sizeof(text), "dead %d", i);
            if (find(text, NOW, NULL) == L1_HIT)
                continue;
            struct l1_offer offer = offer_of(text, &reads);
            ck_assert_int_eq(store(&offer, 1, 100), L1_STORED);
        }
    generations_raise(table, &write);
    uint32_t hits = 0;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++) {
            snprintf(text, sizeof(text), "new %d", i);
            bool hit = find(text, NOW, NULL) == L1_HIT;
            hits += hit;
            if (!hit)
                put(text, 1);
        }
    ck_assert_uint_gt(hits, 990);
}
END_TEST

TEST(a_sketch_counts_up_to_its_limit_and_forgets)
{
    struct sketch sketch;
    ck_assert(sketch_init(&sketch, 1024));
    ck_assert_uint_eq(sketch_estimate(&sketch, 1, 2), 0);
    for (uint32_t i = 1; i <= 40; i++) {
        sketch_add(&sketch, 1, 2, 1024);
        ck_assert_uint_eq(sketch_estimate(&sketch, 1, 2), MIN_OF(i, SKETCH_COUNT_MAX));
    }
    uint32_t beside = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t low = i * UINT64_C(0x9e3779b97f4a7c15), high = low * low + i;
        sketch_add(&sketch, low, high, 1024);
        ck_assert_uint_ge(sketch_estimate(&sketch, low, high), 1);
        beside += sketch_estimate(&sketch, low, high) > 2;
    }
    ck_assert_uint_lt(beside, 20);
    for (uint64_t i = 0; i < 10 * 1024 + 1024; i++)
        sketch_add(&sketch, 3, 4, 1024);
    ck_assert_uint_le(sketch_estimate(&sketch, 1, 2), SKETCH_COUNT_MAX / 2 + 1);
    sketch_fini(&sketch);
}
END_TEST

/* --- flushes and views ------------------------------------------------------------------------ */

static uint64_t flush(const char *like, const char *tag)
{
    struct l1_filter filter = {span_text(like), span_text(tag)};
    struct l1_cursor cursor = l1_flush_begin(l1);
    uint64_t removed = 0;
    while (l1_flush_step(l1, &filter, &cursor, &removed))
        ;
    return removed;
}

TEST(entries_are_flushed_by_pattern_by_tag_and_all)
{
    static const struct {
        const char *text, *like;
        bool matches;
    } all[] = {
        {"select 1", "select 1", true},
        {"select 1", "select", false},
        {"select 1", "select%", true},
        {"select 1", "%", true},
        {"select 1", "%1", true},
        {"select 1", "%2", false},
        {"select 1", "s_lect_1", true},
        {"select 1", "_select 1", false},
        {"select 1", "%e%e%1%", true},
        {"select 1", "%e%e%e%", false},
        {"select 100%", "%100\\%", true},
        {"select 1000", "%100\\%", false},
        {"select 'a_b'", "%a\\_b%", true},
        {"select 'axb'", "%a\\_b%", false},
        {"aab", "%ab", true},
        {"aaab", "a%ab", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        put(all[i].text, 1);
        ck_assert_msg(flush(all[i].like, NULL) == all[i].matches, "%s", all[i].like);
        (void)flush(NULL, NULL);
        ck_assert_uint_eq(stats().entries, 0);
    }
    struct l1_offer offer = offer_of("select 1", NULL);
    offer.tags = SPAN("prices,stock");
    ck_assert_int_eq(store(&offer, 1, 100), L1_STORED);
    ck_assert_uint_eq(flush(NULL, "price"), 0);
    ck_assert_uint_eq(flush(NULL, "prices,stock"), 0);
    ck_assert_uint_eq(flush("update%", "stock"), 0);
    ck_assert_uint_eq(flush("select%", "stock"), 1);
}
END_TEST

TEST(an_answer_from_before_a_flush_is_not_stored)
{
    struct l1_offer offer = offer_of("select 1", NULL);
    (void)flush("nothing", NULL);
    ck_assert_int_eq(store(&offer, 1, 100), L1_CHANGED);
    offer = offer_of("select 1", NULL);
    ck_assert_int_eq(store(&offer, 1, 100), L1_STORED);
}
END_TEST

TEST(each_entry_is_shown_once)
{
    bool seen[500] = {false};
    char text[400];
    l1_free(&l1);
    l1 = l1_new(64 << 20, table);
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "%d %*s", i, i % 300, "end");
        put(text, 1);
    }
    struct l1_view views[7];
    struct l1_cursor cursor = {0};
    uint32_t shown = 0;
    for (uint32_t count; (count = l1_views(l1, &cursor, views, 7)) > 0; shown += count)
        for (uint32_t i = 0; i < count; i++) {
            long number = strtol(views[i].text, NULL, 10);
            ck_assert(number >= 0 && number < 500 && !seen[number]);
            seen[number] = true;
            ck_assert_uint_eq(views[i].answer_bytes, 100);
            ck_assert_int_eq(views[i].state, GENERATIONS_CURRENT);
            ck_assert_int_eq(views[i].expires.us, later(NOW, sec(10)).us);
        }
    ck_assert_uint_eq(shown, 500);
    ck_assert_uint_eq(stats().entries, 500);
    ck_assert_uint_eq(flush(NULL, NULL), 500);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define RELATIONS 3u
#define WRITES    3000u

static struct {
    uint64_t visible[RELATIONS]; /* atomic: the version of each table that a snapshot sees */
    uint32_t writing;            /* atomic: writers that have not ended */
} world;

static void *write_often(void *argument)
{
    bool decoded_first = argument != NULL;
    for (uint32_t i = 0; i < WRITES; i++) {
        uint32_t relation = i % RELATIONS;
        struct generations_writes write = write_of(relation);
        if (decoded_first)
            generations_unsettle(table, &write);
        else
            generations_doubt(table, &write);
        __atomic_fetch_add(&world.visible[relation], 1, __ATOMIC_SEQ_CST);
        if (decoded_first) {
            generations_settle(table, &write);
        } else {
            generations_raise(table, &write);
            generations_doubt_end(table, &write);
        }
    }
    __atomic_fetch_sub(&world.writing, 1, __ATOMIC_RELEASE);
    return NULL;
}

struct reading {
    uint64_t stale, hits, stored;
};

/* Looks up; on a miss captures, executes (reads the visible version) and stores. */
static void read_once(uint32_t i, struct reading *reading)
{
    static const char *const texts[] = {"select from a", "select from b", "select from c"};
    uint32_t relation = i / 8 % RELATIONS;
    struct generations_reads reads = reads_of(relation);
    uint64_t arrived = __atomic_load_n(&world.visible[relation], __ATOMIC_SEQ_CST), number;
    struct l1_offer offer = {.key = key_of(texts[relation]),
                             .text = span_text(texts[relation]),
                             .made = {(int64_t)i},
                             .expires = NEVER,
                             .stale_until = NEVER,
                             .reads = &reads,
                             .flushes = l1_flushes(l1)};
    switch (find(texts[relation], NOW, &number)) {
    case L1_HIT:
        reading->hits += 1;
        reading->stale += number < arrived;
        return;
    case L1_HELD:
        return;
    default:
        break;
    }
    if (!generations_capture(table, &reads, &offer.captured))
        return;
    number = __atomic_load_n(&world.visible[relation], __ATOMIC_SEQ_CST);
    reading->stored += store(&offer, number, 60) == L1_STORED;
}

static void *read_often(void *argument)
{
    for (uint32_t i = 0; __atomic_load_n(&world.writing, __ATOMIC_ACQUIRE) > 0; i++)
        read_once(i, argument);
    return NULL;
}

static void *flush_often(void *argument UNUSED)
{
    struct l1_view views[4];
    while (__atomic_load_n(&world.writing, __ATOMIC_ACQUIRE) > 0) {
        struct l1_cursor cursor = {0};
        (void)l1_views(l1, &cursor, views, 4);
        (void)flush("%b", NULL);
    }
    return NULL;
}

TEST(threads_never_find_an_answer_that_is_older_than_a_visible_write)
{
    pthread_t writers[2], readers[2], flusher;
    struct reading readings[2] = {0};
    memset(&world, 0, sizeof(world));
    world.writing = 2;
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_often, &readings[i]), 0);
        ck_assert_int_eq(pthread_create(&writers[i], NULL, write_often, i == 0 ? NULL : &world), 0);
    }
    ck_assert_int_eq(pthread_create(&flusher, NULL, flush_often, NULL), 0);
    pthread_join(flusher, NULL);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(writers[i], NULL);
        pthread_join(readers[i], NULL);
        ck_assert_uint_eq(readings[i].stale, 0);
    }
    /* All is settled: what is stored now is found. */
    struct reading last = {0};
    for (uint32_t i = 0; i < 2; i++)
        read_once(i, &last);
    ck_assert_uint_gt(last.hits, 0);
    ck_assert_uint_eq(last.stale, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_answer_is_found_by_its_key,
        two_keys_with_one_digest_are_two_entries,
        digests_depend_on_a_secret,
        an_entry_is_replaced_by_a_later_execution_only,
        an_entry_expires_at_its_moment,
        one_caller_refreshes_a_stale_entry_and_the_others_get_it,
        a_time_to_live_is_shortened_and_never_longer,
        a_write_ends_the_entries_of_its_table,
        an_answer_from_before_a_write_is_not_stored,
        bytes_are_bounded_and_counted,
        an_answer_that_is_too_large_is_not_stored,
        a_scan_does_not_evict_what_is_asked_for_often,
        a_large_answer_is_admitted_in_place_of_many_small_ones,
        dead_entries_are_evicted_first,
        a_sketch_counts_up_to_its_limit_and_forgets,
        entries_are_flushed_by_pattern_by_tag_and_all,
        an_answer_from_before_a_flush_is_not_stored,
        each_entry_is_shown_once,
        threads_never_find_an_answer_that_is_older_than_a_visible_write,
        NULL,
    };
    return unit_run("l1", tests, setup, teardown);
}
