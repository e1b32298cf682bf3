#include "wire/base64.h"

#include "base/check.h"

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static_assert(sizeof(base64_letters) == 64 + 1, "six bits choose a letter");

size_t wire_base64_encode(struct span bytes, char *text)
{
    char *to = text;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.at[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.at[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.at[i + 2] : 0;
        *to++ = base64_letters[group >> 18];
        *to++ = base64_letters[group >> 12 & 63];
        *to++ = left > 1 ? base64_letters[group >> 6 & 63] : '=';
        *to++ = left > 2 ? base64_letters[group & 63] : '=';
    }
    *to = '\0';
    invariant((size_t)(to - text) == WIRE_BASE64_SIZE(bytes.size));
    return (size_t)(to - text);
}

/* The six bits of a letter, or -1. */
static int base64_value(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    if (letter == '+')
        return 62;
    return letter == '/' ? 63 : -1;
}

/* Four letters, of which the last `padding` are '='; false for a wrong letter or a stray bit. */
static bool base64_group(const uint8_t *letters, size_t padding, uint32_t *ret)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(letters[i]) : 0;
        if (value < 0)
            return false;
        group = group << 6 | (uint32_t)value;
    }
    *ret = group;
    return (group & ((1u << (8 * padding)) - 1)) == 0;
}

bool wire_base64_decode(struct span text, uint8_t *ret, size_t most, size_t *ret_size)
{
    if (text.size % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.at[text.size - 1 - padding] == '=')
        padding++;
    size_t size = text.size / 4 * 3 - padding;
    if (size > most)
        return false;
    size_t done = 0;
    for (size_t i = 0; i < text.size; i += 4) {
        uint32_t group;
        if (!base64_group(text.at + i, i + 4 == text.size ? padding : 0, &group))
            return false;
        for (int shift = 16; shift >= 0 && done < size; shift -= 8)
            ret[done++] = (uint8_t)(group >> shift);
    }
    invariant(done == size);
    *ret_size = size;
    return true;
}
