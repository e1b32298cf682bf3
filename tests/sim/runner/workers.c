#include "runner/workers.h"
#include "base/check.h"
#include "runner/check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

#define WORKERS_MAX      16
#define SEED_SECONDS     120 /* a run that takes longer never ends */
#define PROGRESS_SECONDS 5.0
#define EXIT_LEAK        4

/* A worker, in memory shared with the parent. */
struct worker {
    pid_t pid;
    int errors;    /* a file of memory: what the worker's stderr got */
    uint64_t seed; /* that it plays */
    uint64_t done;
    struct counts counts;
    struct failure failure;
};

struct workers {
    uint64_t next; /* atomic: the seed that is played next */
    uint64_t last;
    bool stop;
    struct worker all[WORKERS_MAX];
};

static struct worker *worker_self; /* in a worker: its own */

static double seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static sigset_t worker_end_signals(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    return ends;
}

/* Until a worker has ended since the last look, or for a second. */
static void workers_wait_signal(void)
{
    const sigset_t ends = worker_end_signals();
    const struct timespec max = {.tv_sec = 1};
    (void)sigtimedwait(&ends, NULL, &max);
}

/* --- in a worker ------------------------------------------------------------------------------ */

static void worker_report(const char *place, const char *text)
{
    snprintf(worker_self->failure.place, sizeof(worker_self->failure.place), "%s", place);
    snprintf(worker_self->failure.text, sizeof(worker_self->failure.text), "%s", text);
}

/* With AddressSanitizer, checks for leaks after each run. */
static void worker_check_leaks(void)
{
#if defined(__SANITIZE_ADDRESS__)
    if (__lsan_do_recoverable_leak_check() != 0)
        _exit(EXIT_LEAK);
#endif
}

static void worker_begin(struct worker *worker)
{
    worker_self = worker;
    sim_check_report_by(worker_report);
    dup2(worker->errors, STDERR_FILENO);
    setvbuf(stdout, NULL, _IOLBF, 0); /* several workers write: whole lines */
}

static void worker_run(const struct plan *plan, bool hashes, bool twice)
{
    struct counts counts = {0};
    worker_self->seed = plan->seed;
    alarm(SEED_SECONDS);
    uint64_t hash = run_play(plan, &counts);
    if (twice) {
        struct counts again = {0};
        uint64_t second = run_play(plan, &again);
        CHECK(hash == second, "the same seed has another history: %016" PRIx64 ", %016" PRIx64,
              hash, second);
    }
    alarm(0);
    worker_check_leaks();
    struct counts *sum = &worker_self->counts;
    sum->simulated_us += counts.simulated_us;
    sum->logins += counts.logins;
    sum->answered += counts.answered;
    sum->errors += counts.errors;
    sum->cancelled += counts.cancelled;
    sum->async_messages += counts.async_messages;
    sum->lost += counts.lost;
    worker_self->done += 1;
    if (hashes)
        printf("%" PRIu64 " %016" PRIx64 "\n", plan->seed, hash);
}

static void worker_main(struct workers *workers, const struct options *options)
{
    for (;;) {
        uint64_t seed = __atomic_fetch_add(&workers->next, 1, __ATOMIC_RELAXED);
        if (seed > workers->last || workers->stop)
            break;
        struct plan plan;
        plan_make(&plan, seed, options->with, options->without, options->clients, options->rounds);
        worker_run(&plan, options->hashes, options->twice);
    }
    /* Not _exit: coverage is written by what runs at the end. */
    exit(0);
}

/* --- in the parent ---------------------------------------------------------------------------- */

/* The line that identifies the failure, without addresses. */
static void failure_place(struct failure *failure)
{
    static const char *const marks[] = {"invariant does not hold", "ERROR: ", "runtime error",
                                        "simulation with seed", "SUMMARY: "};
    char *line = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(marks) && line == NULL; i++)
        line = strstr(failure->text, marks[i]);
    while (line != NULL && line > failure->text && line[-1] != '\n')
        line -= 1;
    size_t used = 0;
    const char *at = line == NULL ? failure->text : line;
    while (*at != '\0' && *at != '\n' && used + 1 < sizeof(failure->place)) {
        if (strncmp(at, "0x", 2) == 0)
            at += 2 + strspn(at + 2, "0123456789abcdef");
        else
            failure->place[used++] = *at++;
    }
    failure->place[used] = '\0';
}

static void failure_read(struct worker *worker, int status)
{
    struct failure *failure = &worker->failure;
    failure->seed = worker->seed;
    if (failure->place[0] != '\0')
        return;
    char text[3800] = "";
    ssize_t size = pread(worker->errors, text, sizeof(text) - 1, 0);
    text[MAX_OF(size, 0)] = '\0';
    if (WIFSIGNALED(status))
        snprintf(failure->text, sizeof(failure->text), "%s%s",
                 WTERMSIG(status) == SIGALRM ? "it did not end\n" : "", text);
    else
        snprintf(failure->text, sizeof(failure->text), "%s%s",
                 WEXITSTATUS(status) == EXIT_LEAK ? "memory was lost\n" : "", text);
    failure_place(failure);
    if (failure->place[0] == '\0')
        snprintf(failure->place, sizeof(failure->place), "status %x", (unsigned)status);
}

static struct workers *workers_new(void)
{
    struct workers *workers =
        mmap(NULL, sizeof(*workers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (workers == MAP_FAILED) {
        perror("sim: no memory");
        exit(2);
    }
    const sigset_t ends = worker_end_signals(); /* kept until it is waited for */
    sigprocmask(SIG_BLOCK, &ends, NULL);
    return workers;
}

static void worker_start(struct workers *workers, struct worker *worker,
                         const struct options *options, const struct plan *plan)
{
    worker->errors = memfd_create("stderr", MFD_CLOEXEC);
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    if (worker->errors < 0 || pid < 0) {
        perror("sim: no worker");
        exit(2);
    }
    if (pid > 0) {
        worker->pid = pid;
        return;
    }
    worker_begin(worker);
    if (plan == NULL)
        worker_main(workers, options);
    else
        worker_run(plan, false, options->twice);
    exit(0);
}

static struct worker *worker_of(struct workers *workers, pid_t pid)
{
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (workers->all[i].pid == pid)
            return &workers->all[i];
    return NULL;
}

static void workers_sum(const struct workers *workers, double seconds, struct totals *ret)
{
    *ret = (struct totals){.seconds = seconds};
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        const struct worker *worker = &workers->all[i];
        ret->seeds += worker->done;
        ret->counts.simulated_us += worker->counts.simulated_us;
        ret->counts.logins += worker->counts.logins;
        ret->counts.answered += worker->counts.answered;
        ret->counts.errors += worker->counts.errors;
        ret->counts.cancelled += worker->counts.cancelled;
        ret->counts.async_messages += worker->counts.async_messages;
        ret->counts.lost += worker->counts.lost;
    }
}

static void workers_print_progress(const struct options *options, const struct totals *sum)
{
    fprintf(stderr, "%" PRIu64 " of %" PRIu64 "..%" PRIu64 ", %.1f seeds a second\n", sum->seeds,
            options->first, options->last, (double)sum->seeds / MAX_OF(sum->seconds, 0.001));
}

/* Waits for all workers.  Returns false if one failed; the others stop then. */
static bool workers_wait(struct workers *workers, const struct options *options,
                         struct failure *ret)
{
    bool good = true;
    double start = seconds_now(), printed = start;
    uint32_t running = options->workers;
    while (running > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0) {
            workers_wait_signal();
            if (!options->quiet && seconds_now() - printed > PROGRESS_SECONDS) {
                struct totals sum;
                printed = seconds_now();
                workers_sum(workers, printed - start, &sum);
                workers_print_progress(options, &sum);
            }
            continue;
        }
        struct worker *worker = worker_of(workers, pid);
        invariant(pid > 0 && worker != NULL);
        running -= 1;
        if (status != 0) {
            failure_read(worker, status);
            if (good || worker->failure.seed < ret->seed)
                *ret = worker->failure;
            good = false;
            workers->stop = true;
        }
        close(worker->errors);
    }
    return good;
}

bool workers_play(const struct options *options, struct totals *totals, struct failure *ret)
{
    struct workers *workers = workers_new();
    double start = seconds_now();
    workers->next = options->first;
    workers->last = options->last;
    for (uint32_t i = 0; i < options->workers; i++)
        worker_start(workers, &workers->all[i], options, NULL);
    bool good = workers_wait(workers, options, ret);
    workers_sum(workers, seconds_now() - start, totals);
    munmap(workers, sizeof(*workers));
    return good;
}

bool workers_try(const struct plan *plan, struct failure *ret)
{
    static const struct options one = {.workers = 1, .quiet = true};
    struct workers *workers = workers_new();
    worker_start(workers, &workers->all[0], &one, plan);
    bool good = workers_wait(workers, &one, ret);
    munmap(workers, sizeof(*workers));
    return good;
}
