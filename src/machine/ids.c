#include "machine/ids.h"
#include "machine/clock.h"
#include "machine/loop_parts.h"

#include <string.h>

/* The largest request that is served from the machine's stock: an id, a nonce, a key. */
#define RANDOM_SMALL 32u

struct uuid uuid_new(void)
{
    uint8_t random[10];
    random_bytes(random, sizeof(random));
    return uuid_make(wall_now(), random);
}

/* Serves small requests from a stock of 1 KiB per machine, so that a connection does not cost three
 * system calls.  Bytes that were given out are wiped, because they may be secrets. */
void random_bytes(void *bytes, size_t size)
{
    struct machine *machine = machine_current;
    if (machine == NULL || size > RANDOM_SMALL) {
        os->random(bytes, size);
        return;
    }
    if (machine->random_left < size) {
        os->random(machine->random, sizeof(machine->random));
        machine->random_left = sizeof(machine->random);
    }
    machine->random_left -= (uint32_t)size;
    memcpy(bytes, machine->random + machine->random_left, size);
    explicit_bzero(machine->random + machine->random_left, size);
}
