/* parade_serve.c - `parade run`: the replicator of a zone. */
#include "cli/cli.h"
#include "cli/parade_parts.h"
#include "machine/log.h"
#include "parade/replicator.h"

#include <stdio.h>
#include <stdlib.h>

static bool replicas_make(struct cli_parade *call, struct parade_replica *replicas, uint32_t zone)
{
    const struct parade_topology *topology = call->topology;
    for (size_t i = 0; i < topology->member_count; i++) {
        const struct parade_member *member = &topology->members[i];
        struct parade_target *target = &replicas[i].target;
        fault made = parade_topology_replicator(topology, member, target);
        if (made != OK) {
            fprintf(stderr, "trunkline parade run: %s\n", fault_detail(made));
            return false;
        }
        if (!cli_parade_password(call, target))
            return false;
        replicas[i].number = member->number;
        replicas[i].zone = topology->zones[member->zone].name;
        replicas[i].local = member->zone == zone;
    }
    return true;
}

static int serve(struct cli_parade *call, struct parade_replica *replicas, uint32_t zone)
{
    if (!replicas_make(call, replicas, zone))
        return CLI_FAILED;
    (void)log_configure(LOG_INFO, LOG_FORMAT_TEXT, NULL);
    fault ran = parade_replicator_run(replicas, call->topology->member_count);
    if (ran != OK)
        fprintf(stderr, "trunkline parade run: %s\n", fault_detail(ran));
    log_finish();
    return ran == OK ? CLI_DONE : CLI_FAILED;
}

int cli_parade_serve(struct cli_parade *call)
{
    int zone =
        call->zone != NULL ? parade_topology_zone(call->topology, span_text(call->zone)) : -1;
    if (zone < 0) {
        fprintf(stderr,
                "trunkline parade run: found %s%s; accepted: --zone with one of the file's\n",
                call->zone != NULL ? "zone " : "no --zone", call->zone != NULL ? call->zone : "");
        return CLI_USAGE;
    }
    size_t count = call->topology->member_count;
    struct parade_replica *replicas = calloc(count, sizeof(*replicas));
    if (replicas == NULL) {
        fputs("trunkline parade run: no memory\n", stderr);
        return CLI_FAILED;
    }
    int status = serve(call, replicas, (uint32_t)zone);
    explicit_bzero(replicas, count * sizeof(*replicas));
    free(replicas);
    return status;
}
