/* admission.c - hit rates of the cache in memory (flight/l1.h) and of plain LRU, on one trace.
 *
 * The trace: reads of keys by Zipf's law, and scans, each a run of keys that no one reads again.
 * Both caches have the same bytes and pay the same per entry.  "most frequent keys" is the share
 * of reads of as many keys as have room: no cache does better for long.  The program also prints
 * what an entry costs beside its key and its answer, and the CPU time of a hit.
 *
 *   admission [KEYS [READS [EXPONENT]]] */
#include "flight/l1.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_SIZE    160u
#define ANSWER_SIZE 220u
/* Every so many reads a scan begins; it reads so many keys. */
#define SCAN_EVERY 50000u
#define SCAN_KEYS  20000u

struct trace {
    uint32_t keys;
    uint32_t reads;
    double *shares; /* of keys 0 to i */
    uint64_t random;
    uint32_t scanned;
    uint32_t scan_left;
};

/* splitmix64 */
static uint64_t draw(struct trace *trace)
{
    uint64_t z = trace->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void trace_begin(struct trace *trace, uint32_t keys, uint32_t reads, double exponent)
{
    *trace = (struct trace){.keys = keys, .reads = reads, .random = 1};
    trace->shares = calloc(keys, sizeof(double));
    double sum = 0;
    for (uint32_t i = 0; i < keys; i++)
        trace->shares[i] = sum += 1 / pow(i + 1, exponent);
    for (uint32_t i = 0; i < keys; i++)
        trace->shares[i] /= sum;
}

/* The next key; keys of scans are those from `keys` on. */
static uint32_t trace_next(struct trace *trace, uint32_t read, bool scans)
{
    if (scans && read % SCAN_EVERY == SCAN_EVERY - 1)
        trace->scan_left = SCAN_KEYS;
    if (trace->scan_left > 0) {
        trace->scan_left -= 1;
        return trace->keys + trace->scanned++;
    }
    double share = (double)(draw(trace) >> 11) / (double)(UINT64_C(1) << 53);
    uint32_t low = 0, high = trace->keys - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (trace->shares[middle] < share)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- plain LRU -------------------------------------------------------------------------------- */

struct lru {
    uint32_t *next, *prev; /* by key; the last one is the head of the ring */
    uint32_t head, count, max;
};

static void lru_remove(struct lru *lru, uint32_t key)
{
    lru->next[lru->prev[key]] = lru->next[key];
    lru->prev[lru->next[key]] = lru->prev[key];
    lru->next[key] = UINT32_MAX;
    lru->count -= 1;
}

static bool lru_read(struct lru *lru, uint32_t key)
{
    bool hit = lru->next[key] != UINT32_MAX;
    if (hit)
        lru_remove(lru, key);
    else if (lru->count == lru->max)
        lru_remove(lru, lru->prev[lru->head]);
    lru->next[key] = lru->next[lru->head];
    lru->prev[key] = lru->head;
    lru->prev[lru->next[key]] = key;
    lru->next[lru->head] = key;
    lru->count += 1;
    return hit;
}

static void lru_begin(struct lru *lru, uint32_t keys, uint32_t max)
{
    *lru = (struct lru){.head = keys, .max = max};
    lru->next = calloc(keys + 1, sizeof(uint32_t));
    lru->prev = calloc(keys + 1, sizeof(uint32_t));
    memset(lru->next, 0xff, (keys + 1) * sizeof(uint32_t));
    lru->next[keys] = lru->prev[keys] = keys;
}

static void lru_end(struct lru *lru)
{
    free(lru->next);
    free(lru->prev);
}

/* --- l1 --------------------------------------------------------------------------------------- */

struct bench {
    struct answer_memory memory;
    struct generations_table *generations;
    struct generations_reads reads;
    struct l1 *l1;
};

static void bench_begin(struct bench *bench, uint64_t bytes_max)
{
    answer_memory_init(&bench->memory, UINT64_MAX / 2);
    bench->generations = generations_table_new(GENERATIONS_SLOTS_DEFAULT);
    bench->l1 = l1_new(bytes_max, bench->generations);
    if (bench->generations == NULL || bench->l1 == NULL)
        exit(1);
    generations_reads_init(bench->generations, &bench->reads, 1);
    if (!generations_reads_table(bench->generations, &bench->reads, 1))
        exit(1);
}

static void bench_end(struct bench *bench)
{
    l1_free(&bench->l1);
    generations_table_free(&bench->generations);
}

static struct answer *answer_make(struct bench *bench)
{
    static const uint8_t bytes[ANSWER_SIZE];
    struct answer *answer = answer_new(&bench->memory, 1 << 20);
    if (answer == NULL || answer_append(answer, span_of(bytes, sizeof(bytes))) != OK)
        exit(1);
    answer_end(answer, ANSWER_COMPLETE);
    return answer;
}

static void text_make(char text[KEY_SIZE], uint32_t number)
{
    memset(text, ' ', KEY_SIZE);
    (void)snprintf(text, KEY_SIZE, "select * from items where id = %u", number);
}

/* Looks a text up; on a miss stores an answer, as an execution would. */
static bool l1_read(struct bench *bench, const char *text)
{
    struct l1_found found;
    struct l1_offer offer = {.expires = NEVER, .stale_until = NEVER, .reads = &bench->reads};
    l1_key_init(bench->l1, span_of(text, KEY_SIZE), &offer.key);
    enum l1_outcome outcome = l1_find(bench->l1, &offer.key, (moment){0}, NEVER, &found);
    answer_unref(&found.answer);
    if (outcome == L1_HIT)
        return true;
    if (!generations_capture(bench->generations, &bench->reads, &offer.captured))
        exit(1);
    offer.answer = answer_make(bench);
    (void)l1_store(bench->l1, &offer, (moment){0});
    answer_unref(&offer.answer);
    return false;
}

/* --- measures --------------------------------------------------------------------------------- */

/* The bytes of one entry, from a cache with one. */
static uint64_t entry_bytes(void)
{
    struct bench bench;
    struct l1_stats stats;
    char text[KEY_SIZE];
    bench_begin(&bench, 1 << 20);
    text_make(text, 1);
    (void)l1_read(&bench, text);
    l1_stats(bench.l1, &stats);
    bench_end(&bench);
    return stats.bytes;
}

/* Reads of keys that are read again; the first half of the trace only fills the caches. */
static void compare(uint32_t keys, uint32_t reads, double exponent, uint32_t entries, bool scans)
{
    struct trace trace;
    struct bench bench;
    struct lru lru;
    struct l1_stats stats;
    uint32_t counted = 0, l1_hits = 0, lru_hits = 0;
    char text[KEY_SIZE];
    trace_begin(&trace, keys, reads, exponent);
    bench_begin(&bench, MAX_OF(entries * entry_bytes(), L1_BYTES_MIN));
    lru_begin(&lru, keys + reads, entries);
    for (uint32_t i = 0; i < reads; i++) {
        uint32_t key = trace_next(&trace, i, scans);
        text_make(text, key);
        bool l1_hit = l1_read(&bench, text), lru_hit = lru_read(&lru, key);
        if (i < reads / 2 || key >= keys)
            continue;
        counted += 1;
        l1_hits += l1_hit;
        lru_hits += lru_hit;
    }
    l1_stats(bench.l1, &stats);
    printf("| %.2f | %s | %4.1f %% | %5.1f %% | %5.1f %% | %5.1f %% |\n", exponent,
           scans ? "yes" : "no", 100.0 * entries / keys, 100.0 * lru_hits / counted,
           100.0 * l1_hits / counted, 100 * trace.shares[entries - 1]);
    lru_end(&lru);
    bench_end(&bench);
    free(trace.shares);
}

/* CPU time of this thread, microseconds. */
static double cpu_us(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (double)spent.tv_sec * 1e6 + (double)spent.tv_nsec / 1e3;
}

/* The CPU time of a hit: the key's digest, the look-up, a reference to the answer. */
static void time_of_a_hit(void)
{
    struct bench bench;
    static char texts[1000][KEY_SIZE];
    uint32_t hits = 0, rounds = 2000000;
    bench_begin(&bench, 16 << 20);
    for (uint32_t i = 0; i < ARRAY_SIZE(texts); i++) {
        text_make(texts[i], i);
        (void)l1_read(&bench, texts[i]);
    }
    double began = cpu_us();
    for (uint32_t i = 0; i < rounds; i++)
        hits += l1_read(&bench, texts[i % ARRAY_SIZE(texts)]);
    printf("%.0f ns of CPU per hit, %u of %u look-ups hit\n", (cpu_us() - began) * 1000 / rounds,
           hits, rounds);
    bench_end(&bench);
}

int main(int count, char **arguments)
{
    static const double parts[] = {0.01, 0.05, 0.2};
    uint32_t keys = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 100000;
    uint32_t reads = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 10) : 2000000;
    double exponent = count > 3 ? strtod(arguments[3], NULL) : 0.9;
    printf("%" PRIu64 " bytes per entry, with a key of %u and an answer of %u: %" PRIu64
           " beside them\n",
           entry_bytes(), KEY_SIZE, ANSWER_SIZE, entry_bytes() - KEY_SIZE - ANSWER_SIZE);
    time_of_a_hit();
    printf("| exponent | scans | entries of keys | LRU | TinyLFU, SLRU | most frequent keys |\n"
           "|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < 2; i++)
        for (size_t j = 0; j < ARRAY_SIZE(parts); j++)
            compare(keys, reads, exponent, (uint32_t)(keys * parts[j]), i > 0);
    return 0;
}
