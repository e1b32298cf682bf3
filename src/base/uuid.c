#include "base/uuid.h"

struct uuid uuid_make(instant now, const uint8_t random[10])
{
    struct uuid uuid;
    uint64_t millis = (uint64_t)(now.us / 1000);
    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(millis >> (8 * (5 - i)));
    memcpy(uuid.bytes + 6, random, 10);
    uuid.bytes[6] = (uint8_t)(0x70 | (uuid.bytes[6] & 0x0f)); /* version 7 */
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3f)); /* variant 10 */
    return uuid;
}

const char *uuid_text(const struct uuid *uuid, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[uuid->bytes[i] >> 4];
        *at++ = digits[uuid->bytes[i] & 15];
    }
    *at = '\0';
    return text;
}
