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

/* The value of each base64 letter plus one; 0: not a base64 letter.  A table, because each login
 * decodes four texts. */
static const uint8_t base64_values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64};

/* Decodes four letters without padding.  Returns false if one is not a base64 letter. */
static bool base64_four(const uint8_t *letters, uint8_t *ret)
{
    uint8_t a = base64_values[letters[0]], b = base64_values[letters[1]];
    uint8_t c = base64_values[letters[2]], d = base64_values[letters[3]];
    if (a == 0 || b == 0 || c == 0 || d == 0)
        return false;
    uint32_t group = (a - 1u) << 18 | (b - 1u) << 12 | (c - 1u) << 6 | (d - 1u);
    ret[0] = (uint8_t)(group >> 16);
    ret[1] = (uint8_t)(group >> 8);
    ret[2] = (uint8_t)group;
    return true;
}

/* Decodes four letters, of which the last `padding` are '='.  Returns false for a wrong letter or a
 * stray bit. */
static bool base64_group(const uint8_t *letters, size_t padding, uint32_t *ret)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t value = i < 4 - padding ? base64_values[letters[i]] : 1;
        if (value == 0)
            return false;
        group = group << 6 | (value - 1u);
    }
    *ret = group;
    return (group & ((1u << (8 * padding)) - 1)) == 0;
}

bool wire_base64_decode(struct span text, uint8_t *ret, size_t max, size_t *ret_size)
{
    if (text.size % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.at[text.size - 1 - padding] == '=')
        padding++;
    size_t size = text.size / 4 * 3 - padding;
    if (size > max)
        return false;
    size_t done = 0, whole = text.size - (padding > 0 ? 4 : 0);
    for (size_t i = 0; i < whole; i += 4, done += 3)
        if (!base64_four(text.at + i, ret + done))
            return false;
    uint32_t group = 0;
    if (padding > 0 && !base64_group(text.at + whole, padding, &group))
        return false;
    if (padding > 0)
        ret[done++] = (uint8_t)(group >> 16);
    if (padding == 1)
        ret[done++] = (uint8_t)(group >> 8);
    invariant(done == size);
    *ret_size = size;
    return true;
}
