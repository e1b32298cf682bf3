#include "session/generation.h"

#include "base/map.h"

uint64_t *generation_of(struct generations *generations, const char *database)
{
    return &generations->all[hash_span(span_text(database)) % GENERATIONS];
}

/* DO and CALL may have run any command.  COMMIT PREPARED makes the changes of a prepared
 * transaction take effect.  GRANT and REVOKE on schemas can change which object a name resolves
 * to. */
bool generation_changes(struct span tag)
{
    static const struct span starts[] = {
        SPAN("CREATE "), SPAN("ALTER "),    SPAN("DROP "),  SPAN("GRANT"),
        SPAN("REVOKE"),  SPAN("REASSIGN "), SPAN("IMPORT"), SPAN("COMMIT PREPARED"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
        if (span_starts(tag, starts[i]))
            return true;
    return span_is(tag, "DO") || span_is(tag, "CALL");
}
