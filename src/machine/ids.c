#include "machine/ids.h"
#include "machine/clock.h"
#include "machine/os.h"

struct uuid uuid_new(void)
{
    uint8_t random[10];
    random_bytes(random, sizeof(random));
    return uuid_make(wall_now(), random);
}

void random_bytes(void *bytes, size_t size)
{
    os->random(bytes, size);
}
