#include "filter/rules_inner.h"

#include <stdlib.h>

#include "filter/wildmatch.h"

/* How a rule is tested, decided once when it is added. NAME_*: pattern without a slash, against the last component. */
enum { NAME_EQUAL, NAME_AFFIX, NAME_WILD, PATH_EQUAL, PATH_TAIL, PATH_ANCHORED_WILD, PATH_ANY };

static u8 choose_kind(const rule *x, const char *p) {
    bool wild = x->flags & RULE_WILD;
    if (!x->slashes && !(x->flags & RULE_STARSTAR)) {
        if (!wild) return NAME_EQUAL;
        return x->head + 1 + x->tail == x->len && p[x->head] == '*' ? NAME_AFFIX : NAME_WILD;
    }
    if (!wild) return *p == '/' ? PATH_EQUAL : PATH_TAIL;
    return *p == '/' ? PATH_ANCHORED_WILD : PATH_ANY;
}

rule *rule_new(const char *prefix, size_t prefix_len, const char *text, size_t len, u32 flags) {
    size_t n = prefix_len + len;
    if (n > UINT16_MAX) return NULL;
    rule *x = calloc(1, sizeof *x + n + 1);
    if (!x) return NULL;
    memcpy(x->text, prefix, prefix_len);
    memcpy(x->text + prefix_len, text, len);
    x->flags = flags;
    x->len = (u16)n;
    const char *p = x->text;
    for (size_t i = 0; i < n; i++)
        if (p[i] == '/') x->slashes++;
    if (strpbrk(p, "*[?")) {
        x->flags |= RULE_WILD;
        const char *double_star = strstr(p, "**");
        if (double_star) {
            x->flags |= RULE_STARSTAR;
            if (double_star == p) x->flags |= RULE_STARSTAR_FIRST;
            if (n >= 3 && memcmp(p + n - 3, "***", 3) == 0) x->flags |= RULE_STAR3_LAST;
        }
    }
    x->head = (u16)strcspn(p, "*[?\\");
    while (x->tail < n - x->head && !strchr("*[?]\\", p[n - 1 - x->tail])) x->tail++;
    x->kind = choose_kind(x, p);
    return x;
}

void rule_free(ps_rules *r, rule *x) {
    rule_merge *m = x->merge;
    if (m) {
        for (u32 i = 0; i < r->merge_count; i++)
            if (r->merges[i] == x) r->merges[i] = NULL;
        while (r->merge_count && !r->merges[r->merge_count - 1]) r->merge_count--;
        list_pop_local(r, &m->list);
        for (rule *f = m->found, *next; f; f = next) {
            next = f->owned_next;
            rule_free(r, f);
        }
        free(m);
    }
    free(x);
}

void list_append(rule_list *l, rule *x) {
    rule **at = l->tail ? &l->tail->next : &l->head;
    x->next = *at;
    *at = l->tail = x;
}

void list_pop_local(ps_rules *r, rule_list *l) {
    if (!l->tail) return;
    rule *inherited = l->tail->next;
    l->tail->next = NULL;
    for (rule *x = l->head, *next; x; x = next) {
        next = x->next;
        rule_free(r, x);
    }
    l->head = inherited;
    l->tail = NULL;
}

/* ---- matching ------------------------------------------------------------------------------- */

typedef struct query {
    const ps_rules *r;
    const char *path, *name; /* without a leading slash; its last component */
    size_t path_len, name_len;
    bool is_dir, absolute;
    size_t joined_at; /* where path stands in joined; 0: not built yet */
    char joined[2 * PS_LIMIT_NAME + 8];
} query;

/* "base/path/": every text that a pattern may be held against is a part of this. */
static bool join(query *q) {
    size_t at = q->r->base_len && !q->absolute ? q->r->base_len : 1;
    if (at + q->path_len + 1 > sizeof q->joined) return false;
    if (at > 1) memcpy(q->joined, q->r->base + 1, at - 1);
    q->joined[at - 1] = '/';
    memcpy(q->joined + at, q->path, q->path_len);
    q->joined[at + q->path_len] = '/';
    q->joined_at = at;
    return true;
}

/* The last `count` components; NULL when there are fewer. */
static const char *last_components(const char *text, size_t n, u32 count) {
    for (const char *s = text + n; s-- > text;)
        if (*s == '/' && !--count) return s + 1;
    return count == 1 ? text : NULL;
}

static bool match_path(const rule *x, query *q) {
    const char *p = x->text, *t = q->path;
    size_t pn = x->len, tn = q->path_len;
    bool from_base = x->flags & PS_RULE_ABS_PATH && !q->absolute && q->r->base_len;
    bool whole_dir = q->is_dir && x->flags & RULE_STAR3_LAST;
    bool from_slash = !from_base && x->flags & RULE_STARSTAR_FIRST && !q->absolute;
    if (from_base || whole_dir || from_slash) {
        if (!q->joined_at && !join(q)) return false;
        size_t from = from_base ? 0 : from_slash ? q->joined_at - 1 : q->joined_at;
        t = q->joined + from;
        tn = q->joined_at + q->path_len + (whole_dir ? 1 : 0) - from;
    }
    bool anchored = pn && *p == '/';
    if (anchored) p++, pn--;
    if (!anchored && x->slashes && !(x->flags & RULE_STARSTAR)) {
        const char *tail = last_components(t, tn, x->slashes + 1u);
        if (!tail) return false;
        tn -= (size_t)(tail - t);
        t = tail;
    } else if (!anchored && (x->flags & (RULE_STARSTAR | RULE_STARSTAR_FIRST)) == RULE_STARSTAR) {
        return wild_match_after_slash(p, pn, t, tn);
    }
    if (x->flags & RULE_WILD) return wild_match(p, pn, t, tn, false) == PS_WILD_YES;
    return pn == tn && memcmp(p, t, pn) == 0;
}

/* exclude.c:rule_matches without its side and negation: does the pattern fit? */
static inline bool fits(const rule *x, query *q) {
    if (x->flags & PS_RULE_DIRECTORY && !q->is_dir) return false;
    const char *p = x->text;
    size_t n = x->len;
    switch (x->kind) {
    case NAME_EQUAL: return n == q->name_len && memcmp(p, q->name, n) == 0;
    case NAME_AFFIX:
        return q->name_len + 1 >= n && memcmp(p, q->name, x->head) == 0 &&
               memcmp(p + x->head + 1, q->name + q->name_len - x->tail, x->tail) == 0;
    case NAME_WILD: return wild_match(p, n, q->name, q->name_len, false) == PS_WILD_YES;
    default: break;
    }
    if (x->flags & PS_RULE_ABS_PATH && q->r->base_len && !q->absolute) return match_path(x, q);
    switch (x->kind) {
    case PATH_EQUAL: return n - 1 == q->path_len && memcmp(p + 1, q->path, n - 1) == 0;
    case PATH_TAIL:
        return n <= q->path_len && memcmp(p, q->path + q->path_len - n, n) == 0 &&
               (n == q->path_len || q->path[q->path_len - n - 1] == '/');
    case PATH_ANCHORED_WILD: /* x->head counts the leading slash; a pattern of three stars may need the slash that is joined */
        if (x->head > q->path_len + 1u + (q->is_dir ? 1u : 0u)) return false;
        if (memcmp(p + 1, q->path, x->head - 1u <= q->path_len ? x->head - 1u : q->path_len) != 0) return false;
        return match_path(x, q);
    default: return match_path(x, q);
    }
}

static inline bool rule_applies(const rule *x, query *q) {
    return fits(x, q) != !!(x->flags & PS_RULE_NEGATE);
}

static void query_set(query *q, const ps_rules *r, const char *path, size_t len, bool is_dir) {
    q->r = r;
    q->absolute = len && *path == '/';
    q->path = path + q->absolute;
    q->path_len = len - q->absolute;
    const char *slash = memrchr(q->path, '/', q->path_len);
    q->name = slash ? slash + 1 : q->path;
    q->name_len = q->path_len - (size_t)(q->name - q->path);
    q->is_dir = is_dir;
    q->joined_at = 0;
}

static int check_list(const rule_list *l, query *q, u32 skip) {
    for (const rule *x = l->head; x; x = x->next) {
        u32 f = x->flags;
        if (f & skip) continue;
        if (f & (PS_RULE_PER_DIR | PS_RULE_CVS)) {
            int found = check_list(f & PS_RULE_PER_DIR ? &x->merge->list : &q->r->cvs, q, skip);
            if (found) return found;
        } else if (rule_applies(x, q)) {
            return f & PS_RULE_INCLUDE ? 1 : -1;
        }
    }
    return 0;
}

static int check(const ps_rules *r, const rule_list *l, const char *path, size_t len, bool is_dir, u32 skip) {
    query q;
    query_set(&q, r, path, len, is_dir);
    if (!q.path_len) return 0;
    skip |= PS_RULE_XATTR;
    if (r->ignore_perishable) skip |= PS_RULE_PERISHABLE;
    return check_list(l, &q, skip);
}

int rules_check(ps_rules *r, const char *path, size_t len, bool is_dir, int side) {
    u32 other = side == PS_SIDE_SENDER ? PS_RULE_ONLY_RECEIVER : PS_RULE_ONLY_SENDER;
    return check(r, &r->main, path, len, is_dir, other);
}

int rules_check_daemon(ps_rules *r, const char *path, size_t len, bool is_dir) {
    return check(r, &r->daemon, path, len, is_dir, 0);
}

bool rules_path_excluded(ps_rules *r, const char *path, size_t len, bool parents_only) {
    if (!r->daemon.head) return false;
    for (size_t i = 1; i < len; i++)
        if (path[i] == '/' && rules_check_daemon(r, path, i, true) < 0) return true;
    return !parents_only && rules_check_daemon(r, path, len, true) < 0;
}

bool rules_any(const ps_rules *r) { return r->main.head; }
bool rules_any_daemon(const ps_rules *r) { return r->daemon.head; }
bool rules_any_merge(const ps_rules *r) { return r->has_merge; }
bool rules_check_received(const ps_rules *r) { return !r->trust_sender && !r->ctx->o.trust_sender && r->main.head; }
void rules_ignore_perishable(ps_rules *r, bool ignore) { r->ignore_perishable = ignore; }

/* ---- the handle, and the calls for Python ----------------------------------------------------- */

ps_rules *ps_rules_new(ps_ctx *c) {
    ps_rules *r = calloc(1, sizeof *r);
    if (!r) {
        ps_fail_memory(c, "filter rules");
        return NULL;
    }
    r->ctx = c;
    r->dir[0] = '/';
    r->dir_len = 1;
    return r;
}

void ps_rules_free(ps_rules *r) {
    if (!r) return;
    rules_change_dir(r, NULL, NULL, 0, 0);
    rules_leave(r, r->saved_count ? 1 : 0);
    list_pop_local(r, &r->main);
    list_pop_local(r, &r->cvs);
    list_pop_local(r, &r->daemon);
    free(r->merges);
    free(r->saved);
    free(r->tokens);
    free(r);
}

void ps_rules_set_parser(ps_rules *r, ps_rules_parser parser, void *handle) {
    r->parser = parser;
    r->handle = handle;
}

int ps_rules_put(ps_rules *r, int list, const ps_rule_op *ops, uint32_t count, const uint8_t *text, size_t text_len) {
    for (u32 i = 0; i < count; i++)
        if (ops[i].text_len > PS_LIMIT_NAME || ops[i].text_off > text_len || text_len - ops[i].text_off < ops[i].text_len)
            return ps_fail(r->ctx, 1, 0, "filter rule %u of %u is longer than its table", i + 1, count);
    for (u32 i = 0; i < count; i++) /* texts are strings from here on */
        if (ops[i].text_len && memchr(text + ops[i].text_off, 0, ops[i].text_len))
            return ps_fail(r->ctx, 1, 0, "filter rule %u of %u has a NUL byte in it", i + 1, count);
    rule_table t = {(ps_rule_op *)(uintptr_t)ops, count, (char *)(uintptr_t)text, text_len};
    if (list != PS_RULES_PARSED)
        return rules_apply(r, list == PS_RULES_CVS ? &r->cvs : list == PS_RULES_DAEMON ? &r->daemon : &r->main, &t, false);
    if (!r->answer) return ps_fail(r->ctx, 1, 0, "parsed rules put while no merge file is being read");
    rule_table *a = r->answer;
    a->ops = malloc((count + 1) * sizeof *ops);
    a->text = malloc(text_len + 1);
    if (!a->ops || !a->text) return ps_fail_memory(r->ctx, "filter rules");
    if (count) memcpy(a->ops, ops, count * sizeof *ops);
    if (text_len) memcpy(a->text, text, text_len);
    a->count = count;
    a->text_len = text_len;
    return PS_OK;
}

int ps_rules_parse_failed(ps_rules *r, int exit_code, const char *text) { return ps_fail(r->ctx, exit_code, 0, "%s", text); }
void ps_rules_log(ps_rules *r, int code, const char *text, size_t len) { ps_log_bytes(r->ctx, code, text, len); }
int ps_rules_set_base(ps_rules *r, const char *base, size_t len) { return rules_set_base(r, base, len, NULL); }
void ps_rules_trust_sender(ps_rules *r) { r->trust_sender = true; }

int ps_rules_check(ps_rules *r, const char *path, size_t len, int is_dir, int side) {
    return rules_check(r, path, len, is_dir != 0, side);
}

void ps_rules_check_many(ps_rules *r, const char *names, size_t len, int side, int8_t *answers, size_t count) {
    const char *at = names, *end = names + len;
    for (size_t i = 0; i < count && at < end; i++) {
        size_t n = strnlen(at, (size_t)(end - at));
        bool is_dir = n && at[n - 1] == '/';
        answers[i] = (int8_t)rules_check(r, at, n - is_dir, is_dir, side);
        at += n + 1;
    }
}

int ps_rules_check_daemon(ps_rules *r, const char *path, size_t len, int is_dir) {
    return rules_check_daemon(r, path, len, is_dir != 0);
}

int ps_rules_path_excluded(ps_rules *r, const char *path, size_t len, int parents_only) {
    return rules_path_excluded(r, path, len, parents_only != 0);
}

int ps_wildmatch(const char *pattern, size_t pattern_len, const char *text, size_t text_len, int fold) {
    return wild_match(pattern, pattern_len, text, text_len, fold != 0) == PS_WILD_YES;
}
