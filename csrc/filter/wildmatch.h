/* rsync's wildcards (lib/wildmatch.c): `?`, `*`, `**`, `[…]`, `\`; a slash is matched only by itself and by `**`. */
#ifndef PS_WILDMATCH_H
#define PS_WILDMATCH_H
#include "core/bytes.h"

#define PS_WILD_YES 1
#define PS_WILD_NO 0
/* No later starting point can match either: the text was too short, or the pattern is malformed. */
#define PS_WILD_OVER (-1)
/* A single star met a slash: only an enclosing `**` may go on. */
#define PS_WILD_TO_STARSTAR (-2)

/* Bytes p[0..pn) against t[0..tn); fold: ASCII letters compare without case. */
int wild_match(const char *p, size_t pn, const char *t, size_t tn, bool fold);
/* wildmatch_array with where < 0: at the start or after any slash. */
bool wild_match_after_slash(const char *p, size_t pn, const char *t, size_t tn);
#endif
