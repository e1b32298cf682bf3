#include "wire/saslprep.h"

#ifdef WITH_LIBIDN
#include <stringprep.h>

static bool saslprep_is_plain(struct span password)
{
    for (size_t i = 0; i < password.size; i++)
        if (password.at[i] >= 0x80)
            return false;
    return true;
}

struct span wire_saslprep(struct span password, char room[WIRE_SASLPREP_MAX])
{
    if (saslprep_is_plain(password) || password.size >= WIRE_SASLPREP_MAX ||
        memchr(password.at, 0, password.size) != NULL)
        return password;
    memcpy(room, password.at, password.size);
    room[password.size] = '\0';
    /* PostgreSQL rejects code points unassigned in Unicode 3.2, as RFC 3454 does for stored
     * strings. */
    int state = stringprep(room, WIRE_SASLPREP_MAX, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep);
    return state == STRINGPREP_OK && room[0] != '\0' ? span_text(room) : password;
}

#else

struct span wire_saslprep(struct span password, char room[WIRE_SASLPREP_MAX])
{
    return password;
}

#endif
