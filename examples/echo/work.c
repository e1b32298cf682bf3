/*
 * work.c - claimers that hold connections to echo servers: an example of libtrunkline-fleet.
 *
 *     ./work NAME-SERVER-PORT [SECONDS]
 *
 * The servers are those of the SRV records of _echo._tcp.test.  At a terminal the arrow keys change
 * how long claims are held, and `q` ends; elsewhere it ends after SECONDS, 5 if there are none.
 */
#include "driver.h"
#include "machine/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CLAIMERS   24
#define SHOWN_MAX  16
#define HOLD_STEP  50
#define HOLD_MAX   5000
#define FRAME      ms(200)
#define CLAIM_WAIT sec(5)
#define WORK_WAIT  sec(30) /* a busy machine is no reason to call a connection broken */

static atomic_int over;          /* by the thread of the keys, and by signals */
static atomic_int hold_ms = 100; /* by the thread of the keys */

static struct {
    struct driver driver;
    struct co_group claimers;
    uint64_t claims, refused, broken;
    int64_t longest_us; /* wait of a claim, since the last frame */
    int seconds;        /* 0: until `q` */
    int status;
    uint16_t name_server;
} work;

/* --- the connector: what is special about an echo server -------------------------------------- */

static fault echo_connect(struct stream *stream, const struct backend *backend, deadline by)
{
    return stream_connect(stream, backend_address(backend), &(struct socket_options){0}, by);
}

/* Sends a word and reads it back. */
static fault echo_word(struct stream *stream, const char *word, deadline by)
{
    char answer[16];
    size_t size = strlen(word);
    TRY(stream_write(stream, span_of(word, size), by));
    TRY(stream_read_all(stream, answer, size, by));
    return memcmp(answer, word, size) == 0 ? OK : FAULT_PROTOCOL;
}

static fault echo_acquire(struct stream *stream, deadline by)
{
    return echo_word(stream, "hello", by);
}

static fault echo_valid(struct stream *stream, deadline by)
{
    return echo_word(stream, "still there?", by);
}

/* A connection with unread bytes must not go to the next claimer. */
static fault echo_recycle(struct stream *stream, deadline by)
{
    char byte;
    size_t size;
    (void)by;
    fault left = stream_read_some(stream, &byte, 1, &size);
    return left == FAULT_AGAIN ? OK : FAULT_PROTOCOL;
}

static const struct connector connector = {echo_connect, echo_acquire, echo_valid, echo_recycle};

/* --- claimers --------------------------------------------------------------------------------- */

static void claim_once(struct held *held)
{
    moment began = now_exact();
    struct stream *stream = driver_claim(&work.driver, held, CLAIM_WAIT);
    work.longest_us = MAX_OF(work.longest_us, between(began, now_exact()).us);
    if (stream == NULL) {
        work.refused += held->refused ? 1 : 0;
        return;
    }
    bool works = echo_word(stream, "work", after(WORK_WAIT)) == OK;
    if (works)
        (void)!co_sleep(ms(hold_ms));
    work.claims += 1;
    work.broken += works || co_cancelled() ? 0 : 1; /* the program's end breaks none */
    driver_release(&work.driver, held, works);
}

static void claimer(void *argument)
{
    struct held held = {.done = false};
    (void)argument;
    while (!co_cancelled()) {
        claim_once(&held);
        (void)!co_sleep(ms(20));
    }
}

/* --- the screen ------------------------------------------------------------------------------- */

struct shown {
    struct address address;
    uint32_t states[FLEET_SLOT_STATES];
};

static void count_connection(struct shown shown[SHOWN_MAX], size_t *count,
                             const struct fleet_slot *slot)
{
    const struct address *at = backend_address(fleet_slot_backend(slot));
    size_t i = 0;
    while (i < *count && !address_equal(&shown[i].address, at))
        i += 1;
    if (i == SHOWN_MAX)
        return;
    if (i == *count)
        shown[(*count)++] = (struct shown){.address = *at};
    shown[i].states[fleet_slot_state(slot)] += 1;
}

static void show_backends(void)
{
    struct shown shown[SHOWN_MAX];
    char text[ADDRESS_TEXT_SIZE];
    size_t count = 0;
    LIST_EACH (&work.driver.connections, it)
        count_connection(shown, &count, LIST_ENTRY(it, struct connection, node)->slot);
    for (size_t i = 0; i < count; i++) {
        printf("%-21s", address_text(&shown[i].address, text, sizeof(text)));
        for (int state = 0; state < FLEET_SLOT_STATES; state++)
            if (shown[i].states[state] > 0)
                printf("  %s %u", fleet_slot_state_text((enum fleet_slot_state)state),
                       shown[i].states[state]);
        printf("\n");
    }
}

static void show_frame(uint64_t *claims)
{
    const struct fleet_counts *counts = fleet_pool_counts(work.driver.pool);
    uint64_t since = work.claims - *claims;
    *claims = work.claims;
    if (isatty(STDOUT_FILENO))
        printf("\033[H\033[J");
    printf("hold %d ms (arrow keys)   %llu claims/s   waiting %u   longest wait %lld ms   q ends\n",
           (int)hold_ms, (unsigned long long)(since * 1000000 / (uint64_t)FRAME.us),
           counts->waiting, (long long)(work.longest_us / 1000));
    work.longest_us = 0;
    show_backends();
    fflush(stdout);
}

/* --- keys ------------------------------------------------------------------------------------- */

static struct termios before;

static void *keys_main(void *argument)
{
    char key;
    int at = 0; /* bytes of an arrow key's sequence so far: ESC [ A */
    while (over == 0 && read(STDIN_FILENO, &key, 1) == 1) {
        if (at == 2 && (key == 'A' || key == 'C'))
            hold_ms = MIN_OF(hold_ms + HOLD_STEP, HOLD_MAX);
        else if (at == 2 && (key == 'B' || key == 'D'))
            hold_ms = MAX_OF(hold_ms - HOLD_STEP, 0);
        else if (at == 0 && key == 'q')
            over = 1;
        at = key == '\033' ? 1 : at == 1 && key == '[' ? 2 : 0;
    }
    return argument;
}

static void keys_begin(void)
{
    struct termios raw;
    pthread_t thread;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
        return;
    raw = before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    if (pthread_create(&thread, NULL, keys_main, NULL) == 0)
        pthread_detach(thread);
}

static void keys_end(void)
{
    if (isatty(STDIN_FILENO))
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* --- life ------------------------------------------------------------------------------------- */

static struct driver_settings settings_of(const struct address *name_server)
{
    return (struct driver_settings){
        .service = "echo",
        .connector = &connector,
        .limits = {.logins_max = 4,
                   .connections_max = 8,
                   .retry_min = ms(20),
                   .retry_max = sec(2),
                   .retry_jitter = 25,
                   .logins_per_second = 50,
                   .zone_min = 1,
                   .spread = true},
        .policy = {.max = 16,
                   .spares = 4,
                   .connect_timeout = sec(1),
                   .hook_timeout = sec(1),
                   .health_interval = sec(3),
                   .rebalance_interval = sec(10),
                   .moves_max = 1},
        .resolver = {.kind = RESOLVER_SRV,
                     .name = "_echo._tcp.test",
                     .servers = name_server,
                     .server_count = 1,
                     .timeout = sec(1),
                     .at_once = 1,
                     .empty_after = 3,
                     .refresh_min = ms(500),
                     .refresh_max = sec(5),
                     .stale_for = NO_LIMIT},
    };
}

static fault run(void)
{
    struct address name_server;
    uint64_t claims = 0;
    if (!address_parse("127.0.0.1", work.name_server, &name_server))
        return fault_raise(FAULT_SYSTEM, "127.0.0.1 is no address");
    struct driver_settings settings = settings_of(&name_server);
    deadline by = work.seconds > 0 ? after(sec(work.seconds)) : NEVER;
    TRY(driver_start(&work.driver, &settings));
    fault started = OK;
    for (int i = 0; i < CLAIMERS && started == OK; i++)
        started = co_group_start(&work.claimers, claimer, NULL, CO_LARGE);
    while (started == OK && over == 0 && now().us < by.us) {
        show_frame(&claims);
        (void)!co_sleep(FRAME);
    }
    co_group_cancel(&work.claimers);
    co_group_join(&work.claimers);
    driver_end(&work.driver);
    return started;
}

static void entry(void *argument)
{
    (void)argument;
    co_group_init(&work.claimers);
    fault end = run();
    if (end != OK)
        fprintf(stderr, "work: %s\n", fault_detail(end));
    work.status = end == OK ? EXIT_SUCCESS : EXIT_FAILURE;
    machine_stop();
}

static void on_signal(int number)
{
    (void)number;
    over = 1;
}

int main(int count, char **words)
{
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: work NAME-SERVER-PORT [SECONDS]\n");
        return 2;
    }
    work.name_server = (uint16_t)strtoul(words[1], NULL, 10);
    work.seconds = count == 3 ? atoi(words[2]) : isatty(STDIN_FILENO) ? 0 : 5;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    keys_begin();
    fault end = machine_run("work", entry, NULL);
    keys_end();
    if (end != OK) {
        fprintf(stderr, "work: %s\n", fault_detail(end));
        return EXIT_FAILURE;
    }
    printf("%llu claims, %llu refused, %llu broken\n", (unsigned long long)work.claims,
           (unsigned long long)work.refused, (unsigned long long)work.broken);
    return work.status;
}
