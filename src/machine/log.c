#include "machine/log.h"

#include "base/buffer.h"
#include "base/check.h"
#include "machine/log_line.h"
#include "machine/log_repeat_parts.h"
#include "machine/os_process_parts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define HOST_MAX 64

struct log_place {
    struct log_target target; /* its texts point to the next two members */
    char path[4096];
    char ident[LOG_IDENT_MAX + 1];
    enum log_dress dress;
    int sink;
};

/* The log targets; immutable once in use.  Older sets are never freed, because any thread may still
 * read them; each change of the log settings adds a set. */
struct log_set {
    struct log_set *older;
    size_t count;
    struct log_place places[];
};

static struct log_set *log_current;     /* atomic; NULL: log_at_first is the only target */
static int log_least_urgent = LOG_INFO; /* atomic: over all targets */
static bool log_has_audit;              /* atomic */
static const struct log_place log_at_first = {
    .target = {.to = LOG_TO_STDERR, .level = LOG_INFO, .format = LOG_FORMAT_TEXT}};
static char log_host[HOST_MAX + 1] = "-"; /* written before the first set is in use */
static const struct os *log_host_of;

/* Lines kept until the start has succeeded or failed: for each a struct held_line and its bytes. */
static struct {
    pthread_mutex_t lock;
    bool on; /* atomic; changed under the lock */
    struct buffer lines;
    uint64_t lost; /* lines for files beyond LOG_HELD_MAX */
} held = {.lock = PTHREAD_MUTEX_INITIALIZER, .lines = {.max = LOG_HELD_MAX}};

#define HELD_FOR_STDERR (-1) /* written only if the start fails */

struct held_line {
    int sink;
    uint32_t size;
};

/* Per thread, because it is too large for the stack of a turn; log_event never suspends. */
static _Thread_local struct log_line log_scratch;

/* --- building --------------------------------------------------------------------------------- */

static void log_build(struct log_line *line, const struct log_place *place,
                      const struct log_head *event)
{
    struct log_head head = *event;
    head.process = (int)os->process->number();
    head.facility = place->target.facility;
    head.ident = place->ident;
    head.host = log_host;
    line->format = (enum log_format)place->target.format;
    line->dress = place->dress;
    log_line_build(line, &head);
}

static struct log_set *log_set_now(void)
{
    return __atomic_load_n(&log_current, __ATOMIC_ACQUIRE);
}

static size_t log_report_dropped(int sink, char *bytes, size_t max, uint64_t count)
{
    const struct log_set *set = log_set_now();
    const struct log_pair lines = log_number("lines", count);
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        if (set->places[i].sink != sink)
            continue;
        /* Not by log_event: the report must not go through the sink that lost the lines. */
        log_build(&log_scratch, &set->places[i],
                  &(struct log_head){.level = LOG_WARNING,
                                     .name = "log.dropped",
                                     .wall_us = os->wall_us(),
                                     .pairs = &lines,
                                     .count = 1});
        size_t size = log_scratch.size <= max ? log_scratch.size : 0;
        memcpy(bytes, log_scratch.bytes, size);
        return size;
    }
    return 0;
}

/* --- targets ---------------------------------------------------------------------------------- */

static const char *usual_path(const struct log_target *target)
{
    if (target->path != NULL || target->to == LOG_TO_STDERR)
        return target->path;
    return target->to == LOG_TO_JOURNAL ? "/run/systemd/journal/socket" : "/dev/log";
}

static enum log_dress dress_of(const struct log_target *target)
{
    if (target->to == LOG_TO_JOURNAL)
        return LOG_DRESS_JOURNAL;
    if (target->to != LOG_TO_SYSLOG)
        return LOG_DRESS_PLAIN;
    return target->protocol == LOG_RFC5424 ? LOG_DRESS_RFC5424 : LOG_DRESS_RFC3164;
}

static void place_set(struct log_place *place, const struct log_target *target, int sink)
{
    const char *path = usual_path(target);
    place->target = *target;
    snprintf(place->path, sizeof(place->path), "%s", path != NULL ? path : "");
    snprintf(place->ident, sizeof(place->ident), "%s",
             target->ident != NULL ? target->ident : "trunkline");
    place->target.path = path != NULL ? place->path : NULL;
    place->target.ident = place->ident;
    place->dress = dress_of(target);
    place->sink = sink;
}

static struct log_set *set_new(const struct log_target *targets, size_t count)
{
    int stream = 0, socket = OS_LOG_STREAMS;
    struct log_set *set = calloc(1, sizeof(*set) + count * sizeof(struct log_place));
    if (set == NULL)
        return NULL;
    set->count = count;
    for (size_t i = 0; i < count; i++) {
        bool file = dress_of(&targets[i]) == LOG_DRESS_PLAIN;
        place_set(&set->places[i], &targets[i], file ? stream++ : socket++);
    }
    return set;
}

static int place_open(const struct log_place *place, struct os_log_target *ret)
{
    size_t size = strlen(place->path) + 1;
    ret->file = -1;
    ret->waits = place->target.when_full == LOG_FULL_WAITS;
    if (place->dress == LOG_DRESS_PLAIN) {
        ret->file = os->log_open(place->target.path);
        return MIN_OF(ret->file, 0);
    }
    if (size > sizeof(ret->socket))
        return -ENAMETOOLONG;
    memcpy(ret->socket, place->path, size);
    return 0;
}

/* Opens the files of the set's targets: 0, or -errno and no file is open. */
static int set_open(const struct log_set *set, struct os_log_target *opened, size_t *ret_failed)
{
    for (size_t i = 0; i < set->count; i++) {
        int result = place_open(&set->places[i], &opened[i]);
        if (result == 0)
            continue;
        *ret_failed = i;
        while (i-- > 0)
            os->log_close(opened[i].file);
        return result;
    }
    return 0;
}

/* Redirects the sinks that the new set does not use to no target, which closes their files. */
static void set_rest(const struct log_set *set, const struct log_set *before)
{
    static const struct os_log_target nothing = {.file = -1};
    for (size_t i = 0; before != NULL && i < before->count; i++) {
        bool wanted = false;
        for (size_t k = 0; k < set->count; k++)
            wanted = wanted || set->places[k].sink == before->places[i].sink;
        if (!wanted)
            (void)os->log_turn(before->places[i].sink, &nothing, log_report_dropped);
    }
}

static int set_turn(const struct log_set *set, size_t *ret_failed)
{
    struct os_log_target opened[LOG_TARGETS_MAX] = {0};
    int result = set_open(set, opened, ret_failed);
    for (size_t i = 0; i < set->count && result == 0; i++) {
        *ret_failed = i;
        result = os->log_turn(set->places[i].sink, &opened[i], log_report_dropped);
        if (result != 0)
            os->log_close(opened[i].file);
    }
    return result;
}

static bool same_place(const struct log_place *a, const struct log_place *b)
{
    return a->target.to == b->target.to && a->target.level == b->target.level &&
           a->target.events == b->target.events && a->target.when_full == b->target.when_full &&
           a->target.format == b->target.format && a->target.facility == b->target.facility &&
           a->sink == b->sink && a->dress == b->dress && strcmp(a->path, b->path) == 0 &&
           strcmp(a->ident, b->ident) == 0;
}

static bool same_set(const struct log_set *a, const struct log_set *b)
{
    if (a == NULL || a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!same_place(&a->places[i], &b->places[i]))
            return false;
    return true;
}

static void set_use(struct log_set *set)
{
    int min = LOG_EMERG;
    bool audits = false;
    for (size_t i = 0; i < set->count; i++) {
        bool audit = set->places[i].target.events == LOG_EVENTS_AUDIT;
        audits = audits || audit;
        min = audit ? min : MAX_OF(min, set->places[i].target.level);
    }
    set->older = log_current;
    __atomic_store_n(&log_current, set, __ATOMIC_RELEASE);
    __atomic_store_n(&log_least_urgent, min, __ATOMIC_RELAXED);
    __atomic_store_n(&log_has_audit, audits, __ATOMIC_RELAXED);
}

int log_set_targets(const struct log_target *targets, size_t count, size_t *ret_failed)
{
    struct log_set *before = log_set_now();
    *ret_failed = 0;
    invariant(count <= LOG_TARGETS_MAX);
    struct log_set *set = set_new(targets, count);
    if (set == NULL)
        return -ENOMEM;
    if (before == NULL || log_host_of != os)
        os->process->host_name(log_host, sizeof(log_host));
    log_host_of = os;
    int result = set_turn(set, ret_failed);
    if (result == 0)
        set_rest(set, before);
    if (result == 0 && !same_set(before, set))
        set_use(TAKE(set));
    free(set);
    return result;
}

int log_configure(int level, enum log_format format, const char *path)
{
    size_t failed;
    struct log_target target = {.to = path == NULL ? LOG_TO_STDERR : LOG_TO_FILE,
                                .level = level,
                                .format = (int)format,
                                .path = path};
    return log_set_targets(&target, 1, &failed);
}

int log_reopen(void)
{
    size_t failed;
    const struct log_set *set = log_set_now();
    return set != NULL ? set_turn(set, &failed) : 0;
}

void log_stop_waiting(void)
{
    os->log_wake();
}

void log_finish(void)
{
    log_tell_repeats(true);
    os->log_stop();
}

/* --- events ----------------------------------------------------------------------------------- */

bool log_wants(int level)
{
    return level <= __atomic_load_n(&log_least_urgent, __ATOMIC_RELAXED);
}

/* Keeps a line during the start.  False: the start is over and the line must be written. */
static bool held_keep(int sink, const struct log_line *line)
{
    struct held_line head = {.sink = sink, .size = (uint32_t)line->size};
    if (!__atomic_load_n(&held.on, __ATOMIC_ACQUIRE))
        return false;
    pthread_mutex_lock(&held.lock);
    bool on = held.on;
    uint8_t *room = on ? buffer_room(&held.lines, sizeof(head) + line->size) : NULL;
    if (room != NULL) {
        memcpy(room, &head, sizeof(head));
        memcpy(room + sizeof(head), line->bytes, line->size);
        held.lines.size += sizeof(head) + line->size;
    }
    held.lost += on && room == NULL && sink != HELD_FOR_STDERR;
    pthread_mutex_unlock(&held.lock);
    return on;
}

void log_hold(void)
{
    pthread_mutex_lock(&held.lock);
    __atomic_store_n(&held.on, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&held.lock);
}

static struct held_line held_next(struct span *rest, const char **ret_bytes)
{
    struct held_line head;
    memcpy(&head, rest->at, sizeof(head));
    *ret_bytes = (const char *)rest->at + sizeof(head);
    *rest = span_skip(*rest, sizeof(head) + head.size);
    return head;
}

/* Writes the kept lines to the files or, if the start failed, to standard error.  The caller holds
 * the lock.  The first line for standard error makes it the only target; there is no such line if
 * it is a target already. */
static void held_write(bool started)
{
    const char *bytes;
    bool turned = false;
    for (struct span rest = buffer_span(&held.lines); rest.size > 0;) {
        struct held_line head = held_next(&rest, &bytes);
        if (started != (head.sink != HELD_FOR_STDERR))
            continue;
        if (!started && !turned)
            turned = log_configure(LOG_INFO, LOG_FORMAT_TEXT, NULL) == 0;
        if (started || turned)
            os->log_line(started ? head.sink : 0, bytes, head.size);
    }
}

void log_release(bool started)
{
    pthread_mutex_lock(&held.lock);
    held_write(started);
    uint64_t lost = held.lost;
    held.lost = 0;
    buffer_fini(&held.lines);
    held.lines = BUFFER_INIT(LOG_HELD_MAX);
    __atomic_store_n(&held.on, false, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&held.lock);
    if (lost > 0)
        log_event(LOG_WARNING, "log.dropped", log_number("lines", lost));
}

static bool takes(const struct log_target *target, const struct log_head *head)
{
    if (head->audit || target->events == LOG_EVENTS_AUDIT)
        return head->audit && target->events == LOG_EVENTS_AUDIT;
    return head->level <= target->level;
}

/* Writes the event to every target of its level; targets of the same format share the line. */
static void log_write(const struct log_head *head)
{
    const struct log_set *set = log_set_now();
    const struct log_place *places = set != NULL ? set->places : &log_at_first;
    size_t count = set != NULL ? set->count : 1;
    const struct log_place *built = NULL;
    bool told = false; /* the event was written to standard error */
    for (size_t i = 0; i < count; i++) {
        const struct log_place *place = &places[i];
        if (!takes(&place->target, head))
            continue;
        bool same = built != NULL && place->dress == LOG_DRESS_PLAIN &&
                    built->dress == LOG_DRESS_PLAIN && built->target.format == place->target.format;
        if (!same)
            log_build(&log_scratch, place, head);
        built = place;
        told = told || place->target.to == LOG_TO_STDERR;
        if (place->target.to != LOG_TO_FILE || !held_keep(place->sink, &log_scratch))
            os->log_line(place->sink, log_scratch.bytes, log_scratch.size);
    }
    if (told || head->audit || !__atomic_load_n(&held.on, __ATOMIC_ACQUIRE))
        return;
    log_build(&log_scratch, &log_at_first, head);
    (void)held_keep(HELD_FOR_STDERR, &log_scratch);
}

/* As log_event, but the event is never counted as a repeat. */
#define log_say(level_, name_, ...)                                                                \
    do {                                                                                           \
        const struct log_pair pairs_[] = {__VA_ARGS__};                                            \
        log_write(&(struct log_head){.level = (level_),                                            \
                                     .name = (name_),                                              \
                                     .wall_us = os->wall_us(),                                     \
                                     .pairs = pairs_,                                              \
                                     .count = ARRAY_SIZE(pairs_)});                                \
    } while (0)

static void tell_repeat(const struct log_repeat *over)
{
    if (over->count > 0)
        log_say(over->level, "log.repeated", log_text("name", over->name),
                log_number("times", over->count), log_quote("line", over->sample));
}

void log_count_repeats(int64_t period_us)
{
    log_repeat_period(period_us);
}

void log_tell_repeats(bool all)
{
    struct log_repeat over;
    while (log_repeat_take(os->monotonic_us(), all, &over))
        tell_repeat(&over);
}

/* Whether the event is new and must be written; logs the count of the replaced entry first. */
static bool log_is_new(const struct log_head *head)
{
    struct log_repeat said = {.level = head->level};
    struct log_repeat over;
    log_build(&log_scratch, &log_at_first, head);
    size_t size = log_scratch.size - 1 - log_scratch.pairs_at;
    const char *sample = log_scratch.bytes + log_scratch.pairs_at;
    said.likeness = log_scratch.likeness;
    snprintf(said.name, sizeof(said.name), "%s", head->name);
    snprintf(said.sample, sizeof(said.sample), "%.*s", (int)size, sample);
    if (!log_repeat_admit(&said, os->monotonic_us(), &over))
        return false;
    tell_repeat(&over);
    return true;
}

void log_pairs(int level, const char *name, const struct log_pair *pairs, size_t count)
{
    struct log_head head = {
        .level = level, .name = name, .pairs = pairs, .count = count, .wall_us = os->wall_us()};
    if (level > LOG_NOTICE || !log_repeat_on() || log_is_new(&head))
        log_write(&head);
}

/* --- the audit -------------------------------------------------------------------------------- */

bool log_audits(void)
{
    return __atomic_load_n(&log_has_audit, __ATOMIC_RELAXED);
}

void log_audit(const char *name, const struct log_pair *pairs, size_t count)
{
    log_write(&(struct log_head){.level = LOG_INFO,
                                 .audit = true,
                                 .name = name,
                                 .pairs = pairs,
                                 .count = count,
                                 .wall_us = os->wall_us()});
}
