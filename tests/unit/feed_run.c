/*
 * feed_run.c - runs a feed against a real server, for tests/integration/test_feed.py.
 *
 * feed_run PORT USER DATABASE [TIMEOUT [PASSWORD]]: one command per line of the input, one line of
 * output for each.
 *
 *   setup             the statements of feed_setup_sql(), ended by a line "."
 *   epoch N           a new source of this epoch
 *   pause, resume
 *   state             STATE EPOCH REASON
 *   NAME              a number of the view
 *   watch SCHEMA NAME captures the generations for a reader of this table: "captured", or "held"
 *   check SCHEMA NAME "current", "held" or "changed" since then
 *   catalog           how often the catalog has changed
 *   noise             asks one ticket after the other from now on, so that a probe is always under
 * way ask N             N tickets at once: how many were READY, how many BYPASS
 */
#include "flight/feed.h"
#include "flight/feed_query.h"
#include "flight/relation.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCHED_MAX 64
#define ASKED_MAX   4096

struct source {
    struct feed_source feed;
};

static struct watched {
    char name[160];
    struct generations_reads reads;
    uint64_t captured;
} watched[WATCHED_MAX];
static uint32_t watched_count;

static struct generations_table *table;
static uint64_t database;
static duration timeout; /* of tickets */
static struct feed *feed;
/* Tickets of one thread. */
struct asker {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t answered;
    struct feed_ticket tickets[ASKED_MAX];
};
static struct asker asker = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, {{{0}}}};
static struct asker noise = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, {{{0}}}};
static pthread_t noise_thread;
static bool noise_runs, noise_ends; /* atomic: noise_ends */

static void source_free(struct feed_source *source)
{
    free(CONTAINER_OF(source, struct source, feed));
}

static void follow(char **words, uint64_t epoch)
{
    struct source *source = calloc(1, sizeof(*source));
    if (source == NULL)
        abort();
    source->feed = (struct feed_source){
        .epoch = epoch,
        .user = span_text(words[2]),
        .database = span_text(words[3]),
        .secret = {.password = words[4] == NULL ? SPAN_NONE : span_text(words[5])},
        .free = source_free,
    };
    if (!address_parse("127.0.0.1", (uint16_t)atoi(words[1]), &source->feed.target.address))
        abort();
    struct feed_source *given = &source->feed;
    feed_follow(feed, &given);
}

/* --- tickets ---------------------------------------------------------------------------------- */

static void count_answer(struct asker *by)
{
    pthread_mutex_lock(&by->mutex);
    by->answered += 1;
    pthread_cond_signal(&by->changed);
    pthread_mutex_unlock(&by->mutex);
}

static void asker_answered(struct feed_ticket *ticket UNUSED)
{
    count_answer(&asker);
}

static void noise_answered(struct feed_ticket *ticket UNUSED)
{
    count_answer(&noise);
}

/* Asks so many at once and waits for all answers. */
static void ask_all(struct asker *by, uint32_t count, void (*answered)(struct feed_ticket *ticket))
{
    by->answered = 0;
    for (uint32_t i = 0; i < count; i++) {
        by->tickets[i] = (struct feed_ticket){.answered = answered, .timeout = timeout};
        feed_ask(feed, &by->tickets[i]);
    }
    pthread_mutex_lock(&by->mutex);
    while (by->answered < count)
        pthread_cond_wait(&by->changed, &by->mutex);
    pthread_mutex_unlock(&by->mutex);
}

static void ask(uint32_t count)
{
    uint32_t verdicts[2] = {0, 0};
    ask_all(&asker, count, asker_answered);
    for (uint32_t i = 0; i < count; i++)
        verdicts[asker.tickets[i].verdict] += 1;
    printf("%u %u\n", verdicts[FEED_READY], verdicts[FEED_BYPASS]);
}

static void *noise_main(void *argument UNUSED)
{
    while (!__atomic_load_n(&noise_ends, __ATOMIC_ACQUIRE))
        ask_all(&noise, 1, noise_answered);
    return NULL;
}

static void begin_noise(void)
{
    noise_runs = pthread_create(&noise_thread, NULL, noise_main, NULL) == 0;
    puts(noise_runs ? "ok" : "no thread");
}

static void end_noise(void)
{
    __atomic_store_n(&noise_ends, true, __ATOMIC_RELEASE);
    if (noise_runs)
        pthread_join(noise_thread, NULL);
}

/* --- generations ------------------------------------------------------------------------------ */

static struct watched *find(const char *schema, const char *name)
{
    char both[160];
    snprintf(both, sizeof(both), "%s.%s", schema, name);
    for (uint32_t i = 0; i < watched_count; i++)
        if (strcmp(watched[i].name, both) == 0)
            return &watched[i];
    if (watched_count == WATCHED_MAX)
        abort();
    struct watched *next = &watched[watched_count++];
    snprintf(next->name, sizeof(next->name), "%s", both);
    generations_reads_init(table, &next->reads, database);
    if (!generations_reads_table(table, &next->reads,
                                 flight_relation_number(span_text(schema), span_text(name))))
        abort();
    return next;
}

static const char *watch(struct watched *one)
{
    return generations_capture(table, &one->reads, &one->captured) ? "captured" : "held";
}

static const char *check(const struct watched *one)
{
    static const char *const names[] = {"current", "held", "changed"};
    return names[generations_check(table, one->reads.slots, one->reads.count, one->captured)];
}

/* --- commands --------------------------------------------------------------------------------- */

static void show(const char *name)
{
    struct feed_view view;
    feed_look(feed, &view);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"failures", view.failures},
        {"sessions", view.sessions},
        {"transactions", view.transactions},
        {"changes", view.changes},
        {"bytes", view.bytes},
        {"probes", view.probes},
        {"markers", view.markers},
        {"keepalives", view.keepalives},
        {"tickets", view.tickets},
        {"ready", view.ready},
        {"bypasses", view.bypasses},
        {"digests", view.digests},
        {"unsettled", view.unsettled},
        {"unsettled_max", view.unsettled_max},
        {"lag", view.lag},
    };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (strcmp(numbers[i].name, name) == 0)
            printf("%" PRIu64 "\n", numbers[i].value);
    if (strcmp(name, "state") == 0)
        printf("%s %" PRIu64 " %s\n", feed_state_name(view.state), view.epoch, view.reason);
}

static void command(char **words, const char *name, const char *one, const char *two)
{
    if (strcmp(name, "setup") == 0)
        printf("%s.\n", feed_setup_sql());
    else if (strcmp(name, "catalog") == 0)
        printf("%" PRIu64 "\n", generations_catalog(table, database));
    else if (strcmp(name, "ask") == 0)
        ask((uint32_t)atoi(one));
    else if (strcmp(name, "noise") == 0)
        begin_noise();
    else if (strcmp(name, "watch") == 0)
        puts(watch(find(one, two)));
    else if (strcmp(name, "check") == 0)
        puts(check(find(one, two)));
    else if (strcmp(name, "epoch") == 0)
        follow(words, (uint64_t)atoi(one)), puts("ok");
    else if (strcmp(name, "pause") == 0)
        feed_pause(feed), puts("ok");
    else if (strcmp(name, "resume") == 0)
        feed_resume(feed), puts("ok");
    else
        show(name);
    fflush(stdout);
}

int main(int count, char **words)
{
    struct feeds *feeds = NULL;
    if (count < 4)
        return EXIT_FAILURE;
    table = generations_table_new(GENERATIONS_SLOTS_DEFAULT);
    if (table == NULL || feeds_new(&feeds) != OK)
        return EXIT_FAILURE;
    timeout = count > 4 ? ms(atoi(words[4])) : ms(20);
    database = generations_database(table, SPAN("main"), span_text(words[3]));
    struct feed_options options = {
        .generations = table,
        .database = database,
        .service_name = SPAN("main"),
        .database_name = span_text(words[3]),
    };
    if (feed_new(feeds, &options, &feed) != OK)
        return EXIT_FAILURE;
    char line[256], name[64], one[80], two[80];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        one[0] = two[0] = '\0';
        if (sscanf(line, "%63s %79s %79s", name, one, two) >= 1)
            command(words, name, one, two);
    }
    end_noise();
    feed_free(&feed);
    feeds_free(&feeds);
    generations_table_free(&table);
    return EXIT_SUCCESS;
}
