#include "filter/wildmatch.h"

typedef struct span {
    const u8 *p, *end;
} span;

static inline bool is_upper(u8 c) { return c >= 'A' && c <= 'Z'; }
static inline bool is_lower(u8 c) { return c >= 'a' && c <= 'z'; }
static inline bool is_digit(u8 c) { return c >= '0' && c <= '9'; }
static inline bool is_alpha(u8 c) { return is_upper(c) || is_lower(c); }
static inline bool is_graph(u8 c) { return c > 0x20 && c < 0x7f; }
static inline u8 folded(u8 c, bool fold) { return fold && is_upper(c) ? (u8)(c | 0x20) : c; }

/* 1 or 0; -1 for a name that is no class. ASCII only, as rsync's own classes are in every UTF-8 locale. */
static int in_class(const u8 *name, size_t n, u8 c) {
    static const char names[][7] = {"alnum", "alpha", "blank", "cntrl", "digit", "graph",
                                    "lower", "print", "punct", "space", "upper", "xdigit"};
    size_t which = 0;
    while (which < 12 && (strlen(names[which]) != n || memcmp(names[which], name, n) != 0)) which++;
    switch (which) {
    case 0: return is_alpha(c) || is_digit(c);
    case 1: return is_alpha(c);
    case 2: return c == ' ' || c == '\t';
    case 3: return c < 0x20 || c == 0x7f;
    case 4: return is_digit(c);
    case 5: return is_graph(c);
    case 6: return is_lower(c);
    case 7: return is_graph(c) || c == ' ';
    case 8: return is_graph(c) && !is_alpha(c) && !is_digit(c);
    case 9: return c == ' ' || (c >= '\t' && c <= '\r');
    case 10: return is_upper(c);
    case 11: return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    default: return -1;
    }
}

/* `*at` stands on the byte after "[". On YES or NO it is moved behind the closing "]". */
static int match_set(const u8 **at, const u8 *end, u8 c, bool fold) {
    const u8 *p = *at;
    bool negated = p < end && (*p == '!' || *p == '^'), hit = false;
    if (negated) p++;
    u8 previous = 0; /* start of a range that a "-" may continue; 0: none */
    for (bool first = true;; first = false) {
        if (p >= end) return PS_WILD_OVER;
        if (*p == ']' && !first) break;
        u8 m = *p++;
        if (m == '\\') {
            if (p >= end) return PS_WILD_OVER;
            m = folded(*p++, fold);
            hit |= c == m;
        } else if (m == '-' && previous && p < end && *p != ']') {
            m = *p++;
            if (m == '\\') {
                if (p >= end) return PS_WILD_OVER;
                m = *p++;
            }
            m = folded(m, fold);
            hit |= c >= previous && c <= m;
            m = 0;
        } else if (m == '[' && p < end && *p == ':') {
            const u8 *name = p + 1, *close = memchr(name, ']', (size_t)(end - name));
            if (!close) return PS_WILD_OVER;
            if (close > name && close[-1] == ':') {
                int is = in_class(name, (size_t)(close - 1 - name), c);
                if (is < 0) return PS_WILD_OVER;
                hit |= is > 0;
                p = close + 1;
                m = 0;
            } else {
                hit |= c == '[';
            }
        } else {
            m = folded(m, fold);
            hit |= c == m;
        }
        previous = m;
    }
    *at = p + 1;
    return hit == negated || c == '/' ? PS_WILD_NO : PS_WILD_YES;
}

static int match_here(span p, span t, bool fold);

/* p stands behind the star. */
static int match_star(span p, span t, bool fold) {
    bool doubled = p.p < p.end && *p.p == '*';
    while (p.p < p.end && *p.p == '*') p.p++;
    if (p.p == p.end) {
        if (doubled || t.p == t.end) return PS_WILD_YES;
        return memchr(t.p, '/', (size_t)(t.end - t.p)) ? PS_WILD_NO : PS_WILD_YES;
    }
    u8 next = *p.p;
    bool literal = next != '?' && next != '[' && next != '\\' && !fold;
    for (; t.p < t.end; t.p++) {
        if (!literal || *t.p == next) {
            int r = match_here(p, t, fold);
            if (r != PS_WILD_NO) {
                if (!doubled || r != PS_WILD_TO_STARSTAR) return r;
                continue;
            }
        }
        if (!doubled && *t.p == '/') return PS_WILD_TO_STARSTAR;
    }
    return PS_WILD_OVER;
}

static int match_here(span p, span t, bool fold) {
    while (p.p < p.end) {
        u8 m = *p.p++;
        if (m == '*') return match_star(p, t, fold);
        if (t.p == t.end) return PS_WILD_OVER;
        u8 c = folded(*t.p++, fold);
        if (m == '?') {
            if (c == '/') return PS_WILD_NO;
        } else if (m == '[') {
            int r = match_set(&p.p, p.end, c, fold);
            if (r != PS_WILD_YES) return r;
        } else {
            if (m == '\\') {
                if (p.p == p.end) return PS_WILD_NO;
                m = *p.p++;
            }
            if (c != folded(m, fold)) return PS_WILD_NO;
        }
    }
    return t.p == t.end ? PS_WILD_YES : PS_WILD_NO;
}

int wild_match(const char *p, size_t pn, const char *t, size_t tn, bool fold) {
    span ps = {(const u8 *)p, (const u8 *)p + pn}, ts = {(const u8 *)t, (const u8 *)t + tn};
    return match_here(ps, ts, fold);
}

bool wild_match_after_slash(const char *p, size_t pn, const char *t, size_t tn) {
    const char *end = t + tn;
    int r = wild_match(p, pn, t, tn, false);
    /* A first attempt that ends at a slash says nothing about later ones; one that ran out of text does. */
    while (r != PS_WILD_YES && r != PS_WILD_OVER) {
        const char *slash = memchr(t, '/', (size_t)(end - t));
        if (!slash) return false;
        t = slash + 1;
        r = wild_match(p, pn, t, (size_t)(end - t), false);
    }
    return r == PS_WILD_YES;
}
