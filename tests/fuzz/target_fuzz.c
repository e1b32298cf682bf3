/* Connection strings: what is accepted is terminated, and says the same when it is read again. */
#include "base/check.h"
#include "fuzz.h"
#include "parade/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parade_target target = PARADE_TARGET_INIT, again = PARADE_TARGET_INIT;
    char text[PARADE_TARGET_TEXT];
    fault read = parade_target_read(span_of(data, size), &target);
    invariant(read == OK || read == FAULT_CONFIG);
    if (read != OK)
        return 0;
    invariant(parade_target_read(span_of(data, size), &again) == OK);
    invariant(memcmp(&target, &again, sizeof(target)) == 0);
    invariant(target.port > 0 && target.patience > 0 && target.host[0] != '\0');
    invariant(strlen(target.host) <= PARADE_HOST_MAX && strlen(target.user) <= PARADE_NAME_MAX);
    invariant(strlen(parade_target_text(&target, text, sizeof(text))) < sizeof(text) - 1);
    return 0;
}
