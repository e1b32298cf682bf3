#pragma once
/*
 * scan.h - the tokens of a piece of SQL, one after another, in a single pass.
 *
 * Knows what hides text from PostgreSQL's own scanner: comments (nested), strings of every kind,
 * dollar quotes, quoted identifiers.  It takes any bytes and never fails: what is not closed ends
 * with the text.  Spans point into the text.  Nothing allocates.
 */
#include "base/span.h"

enum query_token_kind {
    QUERY_TOKEN_END,
    QUERY_TOKEN_WORD,   /* an identifier or keyword as it stands, case not folded */
    QUERY_TOKEN_QUOTED, /* "an identifier", without its quotes */
    QUERY_TOKEN_STRING, /* 'text', without its quotes, escapes as they stand */
    QUERY_TOKEN_DOLLAR, /* $tag$text$tag$, without its quotes */
    QUERY_TOKEN_NUMBER, /* also $1 */
    QUERY_TOKEN_PUNCT,  /* one byte of anything else */
};

struct query_token {
    enum query_token_kind kind;
    struct span text;
};

struct query_scan {
    const uint8_t *at;
    const uint8_t *end;
};

/** A NUL ends the text, as it does on the wire. */
void query_scan_init(struct query_scan *scan, struct span text);
struct query_token query_scan_next(struct query_scan *scan);
