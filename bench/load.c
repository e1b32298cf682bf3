/*
 * load.c - a closed-loop load generator: one thread, N clients, each asks again when it is
 * answered.
 *
 * usage: load --port P [options]     prints one line of JSON
 *
 *   --host A --user U --database D --password P --tls
 *   --mode simple|extended|prepared|pipeline|batch|connect|churn|idle
 *          pipeline: --depth queries, a Sync each; batch: --depth queries, one Sync
 *          churn: all are connected; --depth at a time leave, come again and ask
 *   --clients N --depth K --query SQL --value TEXT --rows N --bytes N    (what every answer must
 * be)
 *   --warm S --seconds S | --queries N
 *   --watch PID                        CPU time of that process over the same window; repeatable
 *
 * `idle` logs in, prints "holding N" and holds until its standard input ends.
 * Any wrong answer, error or lost connection ends the run with status 1.
 */
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "histogram.h"

enum { EVENTS = 512, WATCH_MAX = 64, OPENING_MAX = 64, STALL_SECONDS = 60 };

enum load_mode {
    MODE_SIMPLE,
    MODE_EXTENDED,
    MODE_PREPARED,
    MODE_PIPELINE,
    MODE_BATCH,
    MODE_CONNECT,
    MODE_CHURN,
    MODE_IDLE,
    MODES,
};

static const char *const mode_names[MODES] = {"simple", "extended", "prepared", "pipeline",
                                              "batch",  "connect",  "churn",    "idle"};

enum phase { PHASE_OPENING, PHASE_WARM, PHASE_MEASURE, PHASE_DRAIN, PHASE_HOLD, PHASE_OVER };

struct usage {
    int64_t cpu;    /* ns */
    int64_t sleeps; /* voluntary context switches of all threads: each is followed by a wake-up */
};

struct watched {
    pid_t pid;
    struct usage start;
    struct usage end;
};

static struct {
    /* options */
    struct login_target target;
    enum load_mode mode;
    size_t client_count;
    unsigned depth;
    const char *query;
    const char *value;
    uint64_t rows;
    uint64_t data;
    double warm;
    double seconds;
    uint64_t queries; /* 0: by time */
    struct watched watched[WATCH_MAX];
    size_t watched_count;
    /* state */
    int epoll;
    enum phase phase;
    struct request request;
    struct client *clients;
    size_t opened;
    size_t logged_in;
    size_t busy;
    size_t next; /* churn: who leaves next */
    uint64_t asked;
    uint64_t answered; /* in the window */
    int64_t now;
    int64_t window_start;
    int64_t window_end;
    int64_t progress; /* last time anything happened */
    int64_t own_cpu;
    struct histogram histogram;
} load;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        return 0;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* The CPU clock of another process counts all its threads, in nanoseconds. */
static int64_t cpu_of(pid_t pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0)
        client_die("process %d has ended", (int)pid);
    return clock_ns(clock);
}

static void add_message(struct buffer *out, char type, const char *body, size_t length)
{
    size_t start = wire_begin(out, type);
    buffer_append(out, body, length);
    wire_end(out, start);
}

static void add_parse(struct buffer *out, const char *name)
{
    size_t start = wire_begin(out, 'P');
    wire_put_text(out, name);
    wire_put_text(out, load.query);
    wire_put_u16(out, 0);
    wire_end(out, start);
}

/* Bind, Describe, Execute: what libpq sends for PQexecParams and PQexecPrepared. */
static void add_execution(struct buffer *out, const char *name)
{
    size_t start = wire_begin(out, 'B');
    wire_put_text(out, "");
    wire_put_text(out, name);
    wire_put_u16(out, 0);
    wire_put_u16(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    add_message(out, 'D', "P", 2);
    add_message(out, 'E', "\0\0\0\0", 5);
}

static void build_request(void)
{
    struct request *request = &load.request;
    request->bytes = BUFFER_INIT(CLIENT_BUFFER_MAX);
    request->prepare = BUFFER_INIT(CLIENT_BUFFER_MAX);
    struct buffer *out = &request->bytes;
    bool many = load.mode == MODE_PIPELINE || load.mode == MODE_BATCH;
    unsigned count = many ? load.depth : 1;
    bool simple = load.mode == MODE_SIMPLE || load.mode >= MODE_CONNECT;
    const char *name = load.mode == MODE_PREPARED ? "bench" : "";
    if (load.mode == MODE_PREPARED) {
        add_parse(&request->prepare, name);
        add_message(&request->prepare, 'S', NULL, 0);
    }
    for (unsigned i = 0; i < count; i++) {
        if (simple) {
            add_message(out, 'Q', load.query, strlen(load.query) + 1);
            continue;
        }
        if (load.mode != MODE_PREPARED)
            add_parse(out, name);
        add_execution(out, name);
        if (load.mode != MODE_BATCH || i + 1 == count)
            add_message(out, 'S', NULL, 0);
    }
    request->completes = count;
    request->readies = load.mode == MODE_BATCH ? 1 : count;
    request->rows = load.rows == UINT64_MAX ? load.rows : load.rows * count;
    request->data = load.data * count;
    request->value = load.value;
}

static void open_more(void)
{
    while (load.opened < load.client_count && load.opened - load.logged_in < OPENING_MAX)
        client_open(&load.clients[load.opened++], &load.target, load.epoll);
}

/* In count mode exactly --queries are asked. */
static bool may_ask(void)
{
    if (load.phase != PHASE_WARM && load.phase != PHASE_MEASURE)
        return false;
    return load.queries == 0 || load.asked < load.queries;
}

static void ask(struct client *client)
{
    if (!may_ask())
        return;
    load.asked += load.request.completes;
    load.busy++;
    if (client->state == CLIENT_CLOSED) {
        client_open(client, &load.target, load.epoll);
        client->since = load.now;
        return;
    }
    client->since = load.now;
    client_ask(client, &load.request);
}

/* In the order of their coming, so that each has been idle for about as long. */
static void churn(void)
{
    struct client *client = &load.clients[load.next++ % load.client_count];
    if (!may_ask())
        return;
    client_close(client);
    ask(client);
}

static int64_t sleeps_of_thread(pid_t pid, const char *thread)
{
    char path[320], line[128];
    int64_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, thread);
    FILE *status = fopen(path, "r");
    while (status != NULL && fgets(line, sizeof(line), status) != NULL)
        if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
            count = strtoll(line + 24, NULL, 10);
    if (status != NULL)
        fclose(status);
    return count;
}

static int64_t sleeps_of(pid_t pid)
{
    char path[64];
    int64_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    for (struct dirent *one; threads != NULL && (one = readdir(threads)) != NULL;)
        if (one->d_name[0] != '.')
            count += sleeps_of_thread(pid, one->d_name);
    if (threads != NULL)
        closedir(threads);
    return count;
}

static struct usage usage_of(pid_t pid)
{
    return (struct usage){.cpu = cpu_of(pid), .sleeps = sleeps_of(pid)};
}

static void start_window(void)
{
    load.phase = PHASE_MEASURE;
    load.answered = 0;
    load.histogram = (struct histogram){0};
    load.window_start = clock_ns(CLOCK_MONOTONIC);
    load.own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < load.watched_count; i++)
        load.watched[i].start = usage_of(load.watched[i].pid);
}

static void end_window(void)
{
    load.phase = load.busy > 0 ? PHASE_DRAIN : PHASE_OVER;
    for (size_t i = 0; i < load.watched_count; i++)
        load.watched[i].end = usage_of(load.watched[i].pid);
    load.window_end = clock_ns(CLOCK_MONOTONIC);
    load.own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - load.own_cpu;
}

static void start_asking(void)
{
    load.now = clock_ns(CLOCK_MONOTONIC);
    load.window_start = load.now;
    load.phase = PHASE_WARM;
    if (load.queries > 0)
        start_window();
    for (size_t i = 0; load.mode == MODE_CHURN && i < load.depth; i++)
        churn();
    for (size_t i = 0; load.mode != MODE_CHURN && i < load.client_count; i++)
        ask(&load.clients[i]);
}

static void hold(void)
{
    load.phase = PHASE_HOLD;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        client_die("standard input must be a pipe");
    printf("holding %zu\n", load.client_count);
    fflush(stdout);
}

static void on_logged_in(struct client *client)
{
    if (load.mode == MODE_CONNECT || (load.mode == MODE_CHURN && load.phase != PHASE_OPENING)) {
        client_ask(client, &load.request);
        return;
    }
    load.logged_in++;
    open_more();
    if (load.logged_in < load.client_count)
        return;
    if (load.mode == MODE_IDLE)
        hold();
    else
        start_asking();
}

static void on_answered(struct client *client)
{
    load.now = clock_ns(CLOCK_MONOTONIC);
    load.busy--;
    int64_t since = client->since;
    if (load.mode == MODE_CONNECT)
        client_close(client);
    if (load.phase == PHASE_MEASURE) {
        histogram_add(&load.histogram, (uint64_t)(load.now - since));
        load.answered += load.request.completes;
    }
    if (load.phase == PHASE_DRAIN && load.busy == 0)
        load.phase = PHASE_OVER;
    if (load.queries > 0 && load.phase == PHASE_MEASURE && load.answered >= load.queries)
        end_window();
    if (load.mode == MODE_CHURN)
        churn();
    else
        ask(client);
}

static void on_time(void)
{
    load.now = clock_ns(CLOCK_MONOTONIC);
    double passed = (double)(load.now - load.window_start) / 1e9;
    if (load.phase == PHASE_WARM && passed >= load.warm)
        start_window();
    else if (load.phase == PHASE_MEASURE && load.queries == 0 && passed >= load.seconds)
        end_window();
    if (load.phase != PHASE_HOLD && load.now - load.progress > STALL_SECONDS * 1000000000LL)
        client_die("nothing happened for %d s", STALL_SECONDS);
}

static void run(void)
{
    static struct epoll_event events[EVENTS];
    load.now = clock_ns(CLOCK_MONOTONIC);
    load.progress = load.now;
    if (load.mode == MODE_CONNECT)
        start_asking();
    else
        open_more();
    while (load.phase != PHASE_OVER) {
        int ready = epoll_wait(load.epoll, events, EVENTS, load.phase == PHASE_HOLD ? -1 : 20);
        on_time();
        if (ready > 0)
            load.progress = load.now;
        for (int i = 0; i < ready && load.phase != PHASE_OVER; i++) {
            struct client *client = events[i].data.ptr;
            if (client == NULL) {
                load.phase = PHASE_OVER;
                continue;
            }
            enum client_news news = client_ready(client, &load.target, &load.request);
            if (news == CLIENT_LOGGED_IN)
                on_logged_in(client);
            else if (news == CLIENT_ANSWERED)
                on_answered(client);
        }
    }
    for (size_t i = 0; i < load.client_count; i++)
        client_close(&load.clients[i]);
}

static void report(void)
{
    const struct histogram *histogram = &load.histogram;
    double seconds = (double)(load.window_end - load.window_start) / 1e9;
    double queries = (double)load.answered;
    printf("{\"mode\": \"%s\", \"clients\": %zu, \"queries\": %.0f, \"seconds\": %.6f, ",
           mode_names[load.mode], load.client_count, queries, seconds);
    printf("\"qps\": %.1f, \"mean_us\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f, ",
           queries / seconds, histogram_mean(histogram) / 1e3, histogram_at(histogram, 0.50) / 1e3,
           histogram_at(histogram, 0.99) / 1e3);
    printf("\"p999_us\": %.2f, \"max_us\": %.2f, \"load_cpu_us\": %.3f, \"watched\": [",
           histogram_at(histogram, 0.999) / 1e3, (double)histogram->max / 1e3,
           (double)load.own_cpu / 1e3 / queries);
    for (size_t i = 0; i < load.watched_count; i++)
        printf("%s{\"pid\": %d, \"cpu_us\": %.3f, \"sleeps\": %" PRId64 "}", i > 0 ? ", " : "",
               (int)load.watched[i].pid,
               (double)(load.watched[i].end.cpu - load.watched[i].start.cpu) / 1e3,
               load.watched[i].end.sleeps - load.watched[i].start.sleeps);
    printf("]}\n");
}

static enum load_mode mode_of(const char *name)
{
    for (int mode = 0; mode < MODES; mode++)
        if (strcmp(mode_names[mode], name) == 0)
            return (enum load_mode)mode;
    client_die("no mode '%s'", name);
}

static SSL_CTX *tls_new(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        client_die("TLS: out of memory");
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    return context;
}

static void set_option(const char *name, const char *value)
{
    if (strcmp(name, "host") == 0)
        load.target.host = value;
    else if (strcmp(name, "port") == 0)
        load.target.port = (uint16_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "user") == 0)
        load.target.user = value;
    else if (strcmp(name, "database") == 0)
        load.target.database = value;
    else if (strcmp(name, "password") == 0)
        load.target.password = value;
    else if (strcmp(name, "tls") == 0)
        load.target.tls = tls_new();
    else if (strcmp(name, "mode") == 0)
        load.mode = mode_of(value);
    else if (strcmp(name, "clients") == 0)
        load.client_count = strtoul(value, NULL, 10);
    else if (strcmp(name, "depth") == 0)
        load.depth = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(name, "query") == 0)
        load.query = value;
    else if (strcmp(name, "value") == 0)
        load.value = *value != 0 ? value : NULL;
    else if (strcmp(name, "rows") == 0)
        load.rows = strtoull(value, NULL, 10);
    else if (strcmp(name, "bytes") == 0)
        load.data = strtoull(value, NULL, 10);
    else if (strcmp(name, "warm") == 0)
        load.warm = strtod(value, NULL);
    else if (strcmp(name, "seconds") == 0)
        load.seconds = strtod(value, NULL);
    else if (strcmp(name, "queries") == 0)
        load.queries = strtoull(value, NULL, 10);
    else if (strcmp(name, "watch") == 0 && load.watched_count < WATCH_MAX)
        load.watched[load.watched_count++].pid = (pid_t)strtol(value, NULL, 10);
}

static void read_options(int count, char **arguments)
{
    static const char *const names[] = {
        "host",  "port",  "user", "database", "password", "mode",    "clients", "depth",
        "query", "value", "rows", "bytes",    "warm",     "seconds", "queries", "watch"};
    static struct option options[sizeof(names) / sizeof(names[0]) + 2];
    size_t known = sizeof(names) / sizeof(names[0]);
    for (size_t i = 0; i < known; i++)
        options[i] = (struct option){names[i], required_argument, NULL, 'o'};
    options[known] = (struct option){"tls", no_argument, NULL, 'o'};
    int index;
    int found;
    while ((found = getopt_long(count, arguments, "", options, &index)) != -1) {
        if (found != 'o')
            exit(2);
        set_option(options[index].name, optarg);
    }
    if (load.target.port == 0 || load.client_count == 0 || load.depth == 0)
        client_die("--port, --clients and --depth must be at least 1");
    load.target.spread = load.mode == MODE_CONNECT;
}

int main(int count, char **arguments)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    load.target = (struct login_target){
        .host = "127.0.0.1", .user = "bench", .database = "bench", .password = ""};
    load.client_count = 1;
    load.depth = 1;
    load.query = "SELECT 1";
    load.value = "1";
    load.rows = 1;
    load.warm = 0.2;
    load.seconds = 1;
    read_options(count, arguments);
    build_request();
    load.clients = calloc(load.client_count, sizeof(*load.clients));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.clients == NULL || load.epoll < 0)
        client_die("out of memory");
    run();
    if (load.mode != MODE_IDLE)
        report();
    free(load.clients);
    buffer_fini(&load.request.bytes);
    buffer_fini(&load.request.prepare);
    SSL_CTX_free(load.target.tls);
    close(load.epoll);
    return 0;
}
