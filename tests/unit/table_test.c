/* A machine with a table of handles of its own: what passes between it and others, and what not. */
#include "machine/acceptor.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/context_parts.h"
#include "machine/offload.h"
#include "machine_body.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Some containers refuse to unshare tables, and ThreadSanitizer knows one only.  Then the machine
 * shares, and all must work too. */
static bool tables_exist(void)
{
    if (CONTEXT_TSAN)
        return false;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(unshare(CLONE_FILES) == 0 ? 0 : 1);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status == 0;
}

/* --- two machines ----------------------------------------------------------------------------- */

/* The test's machine, a machine apart, and what they tell each other. */
struct pair {
    struct machine *home;
    struct machine *apart;
    struct mail there; /* to `apart`: run `body` */
    struct mail back;  /* to `home`: `body` has run */
    void (*body)(struct pair *pair);
    struct co *waits;
    uint32_t table; /* of `apart` */
    int handle;     /* what `body` is about */
    struct listener listener;
    struct acceptor acceptor;
    struct stream stream;
    bool accepted;
};

static void pair_back(struct mail *mail)
{
    co_wake(CONTAINER_OF(mail, struct pair, back)->waits);
}

static void pair_there(struct mail *mail)
{
    struct pair *pair = CONTAINER_OF(mail, struct pair, there);
    pair->table = os->table();
    pair->body(pair);
    mail_send(pair->home, &pair->back);
}

static void apart_ends(struct pair *pair UNUSED)
{
    machine_stop();
}

/* Runs `body` on the machine apart and waits for its end. */
static void pair_do(struct pair *pair, void (*body)(struct pair *pair))
{
    pair->body = body;
    mail_send(pair->apart, &pair->there);
    ck_assert_int_eq(co_wait(NEVER), OK);
}

static void idle_main(void *argument UNUSED)
{
}

static void pair_begin(struct pair *pair)
{
    *pair = (struct pair){.there.deliver = pair_there,
                          .back.deliver = pair_back,
                          .home = machine_self(),
                          .waits = co_self(),
                          .stream = STREAM_INIT};
    ck_assert_int_eq(machine_new_apart("apart", idle_main, NULL, &pair->apart), OK);
}

static void pair_end(struct pair *pair)
{
    pair_do(pair, apart_ends);
    machine_join(&pair->apart);
    machine_stop();
}

static void run(void (*body)(void *argument))
{
    ck_assert_int_eq(machine_run("home", body, NULL), OK);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void number_is_not_open(struct pair *pair)
{
    if (pair->table == 0)
        return;
    ck_assert_int_eq(fcntl(pair->handle, F_GETFD), -1);
    ck_assert_int_eq(errno, EBADF);
    int own = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, pair->handle + 7);
    ck_assert_int_eq(own, pair->handle + 7);
    pair->handle = own;
}

static void numbers_body(void *argument UNUSED)
{
    struct pair pair;
    int ours = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(ours, 0);
    pair_begin(&pair);
    pair.handle = ours;
    pair_do(&pair, number_is_not_open);
    ck_assert_int_eq(pair.table != 0, tables_exist());
    ck_assert_int_eq(os->table(), 0);
    if (pair.table != 0)
        ck_assert_int_eq(fcntl(pair.handle, F_GETFD), -1);
    close(ours);
    pair_end(&pair);
}

TEST(a_number_means_nothing_in_the_other_table)
{
    run(numbers_body);
}
END_TEST

/* --- listeners -------------------------------------------------------------------------------- */

static void accepted(struct acceptor *acceptor, int handle, const struct address *peer UNUSED)
{
    struct pair *pair = CONTAINER_OF(acceptor, struct pair, acceptor);
    struct stream stream = STREAM_INIT;
    ck_assert_int_eq(stream_adopt(&stream, handle, false), OK);
    stream_close(&stream);
    pair->accepted = true;
    mail_send(pair->home, &pair->back);
}

static void accepts(struct pair *pair)
{
    ck_assert_int_eq(acceptor_open(&pair->acceptor, &pair->listener, accepted), OK);
}

static void accepts_no_more(struct pair *pair)
{
    acceptor_close(&pair->acceptor);
}

static void listeners_body(void *argument UNUSED)
{
    struct pair pair;
    struct address at;
    struct stream client = STREAM_INIT;
    pair_begin(&pair);
    ck_assert(address_parse("127.0.0.1", 0, &at));
    ck_assert_int_eq(listener_open(&pair.listener, &at, 16, -1), OK);
    ck_assert_int_eq(listener_give(&pair.listener), OK);
    ck_assert_int_eq(listener_give(&pair.listener), OK); /* this one is taken back */
    pair_do(&pair, accepts);
    listener_take_back();
    ck_assert_int_eq(stream_connect(&client, &pair.listener.address, NULL, after(sec(10))), OK);
    while (!pair.accepted)
        ck_assert_int_eq(co_wait(NEVER), OK);
    stream_close(&client);
    pair_do(&pair, accepts_no_more);
    listener_close(&pair.listener);
    /* No copy of the listening socket is left in either table. */
    ck_assert_int_eq(stream_connect(&client, &pair.listener.address, NULL, after(sec(10))),
                     FAULT_REFUSED);
    pair_end(&pair);
}

TEST(a_listener_is_given_to_a_machine_apart_and_taken_back)
{
    run(listeners_body);
}
END_TEST

/* --- offloaded jobs --------------------------------------------------------------------------- */

enum { JOBS = 40 };

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t ran;
    uint32_t elsewhere; /* jobs that ran with another table than that of the process */
    bool open;
};

static struct jobs jobs = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void job_run(void *argument UNUSED)
{
    pthread_mutex_lock(&jobs.lock);
    jobs.elsewhere += os->table() != 0;
    jobs.ran += 1;
    pthread_cond_broadcast(&jobs.changed);
    while (!jobs.open)
        pthread_cond_wait(&jobs.changed, &jobs.lock);
    pthread_mutex_unlock(&jobs.lock);
}

/* Four slow jobs wait at the same time, so there are as many threads for them; then all jobs end.
 */
static void jobs_are_offloaded(struct pair *pair UNUSED)
{
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_int_eq(os->offload_slow(job_run, NULL), 0);
    pthread_mutex_lock(&jobs.lock);
    while (jobs.ran < 4)
        pthread_cond_wait(&jobs.changed, &jobs.lock);
    jobs.open = true;
    pthread_cond_broadcast(&jobs.changed);
    pthread_mutex_unlock(&jobs.lock);
    for (uint32_t i = 4; i < JOBS; i++)
        ck_assert_int_eq((i % 2 == 0 ? os->offload : os->offload_slow)(job_run, NULL), 0);
}

static void offload_body(void *argument UNUSED)
{
    struct pair pair;
    pair_begin(&pair);
    pair_do(&pair, jobs_are_offloaded);
    pthread_mutex_lock(&jobs.lock);
    while (jobs.ran < JOBS)
        pthread_cond_wait(&jobs.changed, &jobs.lock);
    ck_assert_uint_eq(jobs.elsewhere, 0);
    pthread_mutex_unlock(&jobs.lock);
    pair_end(&pair);
}

TEST(jobs_of_a_machine_apart_use_the_table_of_the_process)
{
    run(offload_body);
}
END_TEST

/* --- crossings -------------------------------------------------------------------------------- */

static void attaches(struct pair *pair)
{
    (void)!stream_attach(&pair->stream);
}

static void closes(struct pair *pair)
{
    stream_close(&pair->stream);
}

static void stays(struct pair *pair UNUSED)
{
}

static void (*crossing)(struct pair *pair);

static void crossing_body(void *argument UNUSED)
{
    struct pair pair;
    int ends[2];
    pair_begin(&pair);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        _exit(0);
    if (stream_adopt(&pair.stream, ends[0], true) != OK)
        _exit(0);
    stream_detach(&pair.stream);
    pair_do(&pair, crossing);
    if (crossing == stays)
        stream_close(&pair.stream);
    pair_end(&pair);
}

/* Whether a process in which the machine apart does this with a stream of the other is aborted. */
static bool aborts(void (*does)(struct pair *pair))
{
    crossing = does;
    int status = child_status(crossing_body);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

TEST(a_stream_that_crosses_tables_aborts)
{
    ck_assert(!aborts(stays));
    ck_assert_int_eq(aborts(attaches), tables_exist());
    ck_assert_int_eq(aborts(closes), tables_exist());
}
END_TEST

TESTS("table", a_number_means_nothing_in_the_other_table,
      a_listener_is_given_to_a_machine_apart_and_taken_back,
      jobs_of_a_machine_apart_use_the_table_of_the_process, a_stream_that_crosses_tables_aborts)
