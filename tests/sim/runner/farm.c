#include "runner/farm.h"
#include "base/check.h"
#include "runner/proof.h"

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

#define WORKERS_MAX  16
#define SEED_SECONDS 120 /* a run that takes longer never ends */
#define TELL_SECONDS 5.0
#define EXIT_LEAK    4

/* A worker's, in memory that the parent sees too. */
struct lane {
    pid_t pid;
    int errors;    /* a file of memory: what the worker's stderr got */
    uint64_t seed; /* that it plays */
    uint64_t done;
    struct counts counts;
    struct failure failure;
};

struct field {
    uint64_t next; /* atomic: the seed that is played next */
    uint64_t last;
    bool stop;
    struct lane lanes[WORKERS_MAX];
};

static struct lane *farm_lane; /* in a worker: its own */

static double farm_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static sigset_t farm_ends(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    return ends;
}

/* Until a worker has ended since the last look, or for a second. */
static void farm_await_end(void)
{
    const sigset_t ends = farm_ends();
    const struct timespec max = {.tv_sec = 1};
    (void)sigtimedwait(&ends, NULL, &max);
}

/* --- in a worker ------------------------------------------------------------------------------ */

static void farm_tell(const char *place, const char *text)
{
    snprintf(farm_lane->failure.place, sizeof(farm_lane->failure.place), "%s", place);
    snprintf(farm_lane->failure.text, sizeof(farm_lane->failure.text), "%s", text);
}

/* What nobody holds any more is seen after each run, where the sanitizer is there. */
static void farm_check_leaks(void)
{
#if defined(__SANITIZE_ADDRESS__)
    if (__lsan_do_recoverable_leak_check() != 0)
        _exit(EXIT_LEAK);
#endif
}

static void farm_begin_lane(struct lane *lane)
{
    farm_lane = lane;
    proof_tell_with(farm_tell);
    dup2(lane->errors, STDERR_FILENO);
    setvbuf(stdout, NULL, _IOLBF, 0); /* several workers write: whole lines */
}

static void farm_run(const struct plan *plan, bool hashes, bool twice)
{
    struct counts counts = {0};
    farm_lane->seed = plan->seed;
    alarm(SEED_SECONDS);
    uint64_t hash = scene_play(plan, &counts);
    if (twice) {
        struct counts again = {0};
        uint64_t second = scene_play(plan, &again);
        PROVE(hash == second, "the same seed has another history: %016" PRIx64 ", %016" PRIx64,
              hash, second);
    }
    alarm(0);
    farm_check_leaks();
    struct counts *sum = &farm_lane->counts;
    sum->simulated_us += counts.simulated_us;
    sum->logins += counts.logins;
    sum->answered += counts.answered;
    sum->errors += counts.errors;
    sum->cancelled += counts.cancelled;
    sum->arrivals += counts.arrivals;
    sum->lost += counts.lost;
    farm_lane->done += 1;
    if (hashes)
        printf("%" PRIu64 " %016" PRIx64 "\n", plan->seed, hash);
}

static void farm_work(struct field *field, const struct options *options)
{
    for (;;) {
        uint64_t seed = __atomic_fetch_add(&field->next, 1, __ATOMIC_RELAXED);
        if (seed > field->last || field->stop)
            break;
        struct plan plan;
        plan_make(&plan, seed, options->without, options->clients, options->rounds);
        farm_run(&plan, options->hashes, options->twice);
    }
    /* Not _exit: coverage is written by what runs at the end. */
    exit(0);
}

/* --- in the parent ---------------------------------------------------------------------------- */

/* The line that says what it was, without numbers that are different each time. */
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

static void failure_read(struct lane *lane, int status)
{
    struct failure *failure = &lane->failure;
    failure->seed = lane->seed;
    if (failure->place[0] != '\0')
        return;
    char text[3800] = "";
    ssize_t size = pread(lane->errors, text, sizeof(text) - 1, 0);
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

static struct field *field_new(void)
{
    struct field *field =
        mmap(NULL, sizeof(*field), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (field == MAP_FAILED) {
        perror("sim: no memory");
        exit(2);
    }
    const sigset_t ends = farm_ends(); /* kept until it is waited for */
    sigprocmask(SIG_BLOCK, &ends, NULL);
    return field;
}

static void lane_start(struct field *field, struct lane *lane, const struct options *options,
                       const struct plan *plan)
{
    lane->errors = memfd_create("stderr", MFD_CLOEXEC);
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    if (lane->errors < 0 || pid < 0) {
        perror("sim: no worker");
        exit(2);
    }
    if (pid > 0) {
        lane->pid = pid;
        return;
    }
    farm_begin_lane(lane);
    if (plan == NULL)
        farm_work(field, options);
    else
        farm_run(plan, false, options->twice);
    exit(0);
}

static struct lane *lane_of(struct field *field, pid_t pid)
{
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (field->lanes[i].pid == pid)
            return &field->lanes[i];
    return NULL;
}

static void field_sum(const struct field *field, double seconds, struct harvest *ret)
{
    *ret = (struct harvest){.seconds = seconds};
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        const struct lane *lane = &field->lanes[i];
        ret->seeds += lane->done;
        ret->counts.simulated_us += lane->counts.simulated_us;
        ret->counts.logins += lane->counts.logins;
        ret->counts.answered += lane->counts.answered;
        ret->counts.errors += lane->counts.errors;
        ret->counts.cancelled += lane->counts.cancelled;
        ret->counts.arrivals += lane->counts.arrivals;
        ret->counts.lost += lane->counts.lost;
    }
}

static void field_tell(const struct options *options, const struct harvest *sum)
{
    fprintf(stderr, "%" PRIu64 " of %" PRIu64 "..%" PRIu64 ", %.1f seeds a second\n", sum->seeds,
            options->first, options->last, (double)sum->seeds / MAX_OF(sum->seconds, 0.001));
}

/* Waits for the end of all workers; false: one failed, and the others were told to stop. */
static bool field_wait(struct field *field, const struct options *options, struct failure *ret)
{
    bool good = true;
    double start = farm_seconds(), told = start;
    uint32_t running = options->workers;
    while (running > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0) {
            farm_await_end();
            if (!options->quiet && farm_seconds() - told > TELL_SECONDS) {
                struct harvest sum;
                told = farm_seconds();
                field_sum(field, told - start, &sum);
                field_tell(options, &sum);
            }
            continue;
        }
        struct lane *lane = lane_of(field, pid);
        invariant(pid > 0 && lane != NULL);
        running -= 1;
        if (status != 0) {
            failure_read(lane, status);
            if (good || lane->failure.seed < ret->seed)
                *ret = lane->failure;
            good = false;
            field->stop = true;
        }
        close(lane->errors);
    }
    return good;
}

bool farm_play(const struct options *options, struct harvest *harvest, struct failure *ret)
{
    struct field *field = field_new();
    double start = farm_seconds();
    field->next = options->first;
    field->last = options->last;
    for (uint32_t i = 0; i < options->workers; i++)
        lane_start(field, &field->lanes[i], options, NULL);
    bool good = field_wait(field, options, ret);
    field_sum(field, farm_seconds() - start, harvest);
    munmap(field, sizeof(*field));
    return good;
}

bool farm_try(const struct plan *plan, struct failure *ret)
{
    static const struct options one = {.workers = 1, .quiet = true};
    struct field *field = field_new();
    lane_start(field, &field->lanes[0], &one, plan);
    bool good = field_wait(field, &one, ret);
    munmap(field, sizeof(*field));
    return good;
}
