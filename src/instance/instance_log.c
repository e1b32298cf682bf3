#include "instance/instance_log_parts.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "machine/log.h"
#include "machine/privileges.h"
#include "pooler/logbook.h"

static struct log_target only_target(const struct config *config)
{
    return (struct log_target){.to = config->log_file == NULL ? LOG_TO_STDERR : LOG_TO_FILE,
                               .level = config->log_level,
                               .format = config->log_format,
                               .path = config->log_file};
}

void instance_log_configure(const struct config *config)
{
    struct log_target only = only_target(config);
    bool several = config->log_target_count > 0;
    const struct log_target *targets = several ? config->log_targets : &only;
    size_t failed;
    log_count_repeats(config->log_repeat_period.us);
    int result = log_set_targets(targets, several ? config->log_target_count : 1, &failed);
    if (result != 0)
        log_event(LOG_ERR, "log.unwritable",
                  log_text("file", targets[failed].path != NULL ? targets[failed].path : ""),
                  log_quote("reason", strerrordesc_np(-result)));
}

void instance_log_reopen(const struct config *config)
{
    int result = log_reopen();
    if (result != 0)
        log_event(LOG_ERR, "log.unwritable",
                  log_text("file", config->log_file != NULL ? config->log_file : ""),
                  log_quote("reason", strerrordesc_np(-result)));
    else
        log_event(LOG_NOTICE, "log.reopened", log_text("signal", "SIGUSR1"));
}

void instance_log_renew(struct instance_log *log)
{
    if (log->co != NULL)
        co_wake(log->co);
}

bool instance_log_end_looks(struct instance_log *log, deadline by)
{
    log->ending = true;
    while (log->looking && now().us < by.us)
        if (co_sleep(ms(1)) != OK)
            break;
    return !log->looking;
}

static void tell_routes(struct instance_log *log, duration period)
{
    if (log->ending)
        return;
    invariant(!log->looking);
    log->looking = true;
    logbook_tell_routes(log->pooler, period);
    log->looking = false;
}

/* Returns the time of the next output; NEVER if it is off, until another version is in force. */
static deadline next_of(moment last, duration period)
{
    return period.us > 0 ? later(last, period) : NEVER;
}

void instance_log_main(void *argument)
{
    struct instance_log *log = argument;
    moment told = now(), counted = now();
    invariant(log->co == NULL && log->config != NULL);
    log->co = co_self();
    for (;;) {
        const struct config *config = *log->config;
        duration period = config->log_stats_period;
        deadline tell = next_of(told, period);
        deadline count = next_of(counted, config->log_repeat_period);
        if (co_wait(earlier_of(tell, count)) == FAULT_CANCELLED)
            break;
        if (now().us >= count.us) {
            log_tell_repeats(false);
            counted = now();
        }
        if (now().us >= tell.us) {
            tell_routes(log, period);
            told = tell;
        }
    }
    invariant(log->co == co_self() && !log->looking);
    log->co = NULL;
}

fault instance_log_give(const struct config *config)
{
    if (config->log_file != NULL && config->log_target_count == 0)
        TRY(privileges_give(config->log_file, config->user));
    for (size_t i = 0; i < config->log_target_count; i++)
        if (config->log_targets[i].to == LOG_TO_FILE)
            TRY(privileges_give(config->log_targets[i].path, config->user));
    return OK;
}
