/* Topology files: what is accepted has sound names, numbers that differ, and zones that there are.
 */
#include "base/check.h"
#include "fuzz.h"
#include "parade/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parade_target presets = PARADE_TARGET_INIT, target;
    struct parade_topology *topology = NULL;
    fault read = parade_topology_read(span_of(data, size), &presets, &topology);
    invariant((read == OK) == (topology != NULL));
    if (read != OK)
        return 0;
    invariant(topology->member_count > 0 && topology->member_count <= PARADE_MEMBERS_MAX);
    for (size_t i = 0; i < topology->member_count; i++) {
        const struct parade_member *member = &topology->members[i];
        invariant(member->zone < topology->zone_count && member->number > 0);
        invariant(member->shard[0] != '\0');
        parade_topology_target(topology, member, &target);
        invariant(strcmp(target.database, member->shard) == 0);
        invariant(parade_topology_replicator(topology, member, &target) == OK);
        for (size_t j = 0; j < i; j++)
            invariant(topology->members[j].number != member->number);
    }
    parade_topology_free(&topology);
    invariant(topology == NULL);
    return 0;
}
