#include "filelist/implied.h"
#include "filter/wildmatch.h"

#include <stdlib.h>

#define LEAF 1   /* asked for itself, and what is below it */
#define PARENT 2 /* -R: a directory on the way to something asked for */

typedef struct name_slot {
    u32 text, len, hash;
    u8 kind; /* 0: free */
} name_slot;

typedef struct wild_rule {
    u32 text, len;
    bool parent;
} wild_rule;

struct ps_implied {
    bool recurse, dirs, relative;
    bool everything; /* the root's own contents were asked for */
    bool root_content;
    ps_arena arena;
    name_slot *names;
    u32 name_count, name_cap;
    wild_rule *wild;
    u32 wild_count, wild_cap;
};

ps_implied *implied_new(const ps_opts *o) {
    ps_implied *m = calloc(1, sizeof *m);
    if (m) *m = (ps_implied){.recurse = o->recurse, .dirs = o->recurse || o->dirs, .relative = o->relative};
    return m;
}

void implied_free(ps_implied *m) {
    if (!m) return;
    arena_free(&m->arena);
    free(m->names);
    free(m->wild);
    free(m);
}

bool implied_any(const ps_implied *m) { return m->everything || m->name_count || m->wild_count; }

/* ---- literal names --------------------------------------------------------------------------- */

static u32 hash_name(const char *s, size_t n) {
    u32 h = 2166136261u;
    for (size_t i = 0; i < n; i++) h = (h ^ (u8)s[i]) * 16777619u;
    return h;
}

static name_slot *lookup(const ps_implied *m, const char *s, size_t n, u32 hash) {
    u32 at = hash & (m->name_cap - 1);
    for (;; at = (at + 1) & (m->name_cap - 1)) {
        name_slot *e = &m->names[at];
        if (!e->kind || (e->hash == hash && e->len == n && memcmp(arena_at(&m->arena, e->text), s, n) == 0)) return e;
    }
}

static int kind_of(const ps_implied *m, const char *s, size_t n) {
    return m->name_cap ? lookup(m, s, n, hash_name(s, n))->kind : 0;
}

static bool add_name(ps_implied *m, const char *s, size_t n, u8 kind) {
    if (m->name_count >= m->name_cap / 2) {
        u32 cap = m->name_cap ? m->name_cap * 2 : 64;
        name_slot *old = m->names, *fresh = calloc(cap, sizeof *fresh);
        if (!fresh) return false;
        u32 old_cap = m->name_cap;
        m->names = fresh;
        m->name_cap = cap;
        for (u32 i = 0; i < old_cap; i++) {
            if (old[i].kind) *lookup(m, arena_at(&m->arena, old[i].text), old[i].len, old[i].hash) = old[i];
        }
        free(old);
    }
    u32 hash = hash_name(s, n);
    name_slot *e = lookup(m, s, n, hash);
    if (!e->kind) {
        u32 text = arena_put(&m->arena, s, n);
        if (text == PS_NO_OFFSET) return false;
        *e = (name_slot){text, (u32)n, hash, 0};
        m->name_count++;
    }
    e->kind |= kind;
    return true;
}

/* ---- patterns -------------------------------------------------------------------------------- */

static bool add_wild(ps_implied *m, const char *s, size_t n, bool parent) {
    if (m->wild_count == m->wild_cap) {
        u32 cap = m->wild_cap ? m->wild_cap * 2 : 16;
        wild_rule *grown = realloc(m->wild, cap * sizeof *grown);
        if (!grown) return false;
        m->wild = grown;
        m->wild_cap = cap;
    }
    u32 text = arena_put(&m->arena, s, n);
    if (text == PS_NO_OFFSET) return false;
    m->wild[m->wild_count++] = (wild_rule){text, (u32)n, parent};
    return true;
}

/* A shell leaves a "[x]" that matches nothing as it stands, so that its literal form may come back too. */
static bool add_bracket_form(ps_implied *m, const char *s, size_t n, bool parent) {
    char out[2 * PS_LIMIT_NAME + 8];
    size_t k = 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\' && i + 1 < n) {
            out[k++] = s[i++];
        } else if (s[i] == '[') {
            out[k++] = '\\';
            any = true;
        }
        out[k++] = s[i];
    }
    return !any || add_wild(m, out, k, parent);
}

static bool add_pattern(ps_implied *m, const char *s, size_t n, bool parent) {
    return add_wild(m, s, n, parent) && (!memchr(s, '[', n) || add_bracket_form(m, s, n, parent));
}

static bool is_wild(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '*' || s[i] == '[' || s[i] == '?') return true;
    }
    return false;
}

/* The pattern for an argument: no doubled slashes, no "." components, backslashes that quote nothing made literal. */
static size_t clean_argument(const char *arg, size_t len, bool wild, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        char ch = arg[i], next = i + 1 < len ? arg[i + 1] : 0;
        bool at_start = !n || out[n - 1] == '/';
        if (ch == '/' && (at_start || !next)) {
            i++;
        } else if (ch == '.' && at_start && (next == '/' || !next)) {
            i += next ? 2 : 1;
        } else {
            if (ch == '\\' && next == ']') {
                if (!wild) ch = arg[++i];
            } else if (ch == '\\' && wild && next != '*' && next != '[' && next != '?') {
                out[n++] = '\\';
            }
            out[n++] = ch;
            i++;
        }
    }
    while (n && out[n - 1] == '/') n--;
    return n;
}

static bool add_parents(ps_implied *m, const char *s, size_t n, bool wild) {
    for (size_t i = n; i-- > 1;) {
        if (s[i] != '/') continue;
        bool pattern = wild && (is_wild(s, i) || memchr(s, '\\', i));
        if (pattern ? !add_pattern(m, s, i, true) : !add_name(m, s, i, PARENT)) return false;
    }
    return true;
}

bool implied_add(ps_implied *m, const char *arg, size_t len, bool skip_module) {
    char text[2 * PS_LIMIT_NAME + 8];
    if (len > PS_LIMIT_NAME) len = PS_LIMIT_NAME;
    if (skip_module) {
        const char *slash = memchr(arg, '/', len);
        size_t skip = slash ? (size_t)(slash + 1 - arg) : len;
        arg += skip;
        len -= skip;
    }
    if (m->relative) {
        const char *dot = memmem(arg, len, "/./", 3);
        size_t skip = dot ? (size_t)(dot + 3 - arg) : 0;
        arg += skip;
        len -= skip;
    } else {
        const char *slash = memrchr(arg, '/', len);
        size_t skip = slash ? (size_t)(slash + 1 - arg) : 0;
        arg += skip;
        len -= skip;
    }
    bool wild = is_wild(arg, len);
    size_t n = clean_argument(arg, len, wild, text);
    if (!n) {
        if (m->dirs) m->everything = m->root_content = true;
        return true;
    }
    if (m->relative && !add_parents(m, text, n, wild)) return false;
    if (!wild) return add_name(m, text, n, LEAF);
    if (strncmp(text, "*", n) == 0 || strncmp(text, "**", n) == 0) m->root_content = true;
    if (!add_pattern(m, text, n, false)) return false;
    if (!m->dirs) return true;
    memcpy(text + n, "/**", 3);
    return add_pattern(m, text, n + (m->recurse ? 3 : 2), false);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool below_leaf(const ps_implied *m, const char *path, size_t len) {
    if (!m->dirs || !m->name_count) return false;
    if (!m->recurse) {
        const char *slash = memrchr(path, '/', len);
        return slash && kind_of(m, path, (size_t)(slash - path)) & LEAF;
    }
    for (size_t i = 1; i < len; i++) {
        if (path[i] == '/' && kind_of(m, path, i) & LEAF) return true;
    }
    return false;
}

/* LEAF, PARENT, both or 0. */
static int match(const ps_implied *m, const char *path, size_t len, bool is_dir) {
    if (len && *path == '/') path++, len--;
    if (!len) return 0;
    if (m->everything && (m->recurse || !memchr(path, '/', len))) return LEAF;
    int found = kind_of(m, path, len);
    if (found & LEAF || below_leaf(m, path, len)) return LEAF;
    if (!is_dir) found = 0;
    for (u32 i = 0; i < m->wild_count; i++) {
        const wild_rule *w = &m->wild[i];
        if (w->parent && (!is_dir || found & PARENT)) continue;
        if (wild_match(arena_at(&m->arena, w->text), w->len, path, len, false) != PS_WILD_YES) continue;
        if (!w->parent) return LEAF;
        found |= PARENT;
    }
    return found;
}

bool implied_allows(const ps_implied *m, const char *path, size_t len, bool is_dir) { return match(m, path, len, is_dir) != 0; }

bool implied_parent_only(const ps_implied *m, const char *path, size_t len) {
    if ((len == 1 && *path == '.') || (len == 2 && memcmp(path, "/.", 2) == 0)) return !m->root_content;
    return match(m, path, len, true) == PARENT;
}
