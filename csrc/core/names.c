#include "core/names.h"

#include <stdio.h>

long name_clean(char *name, size_t len, int flags) {
    size_t in = 0, out = 0, first;
    bool anchored = len && *name == '/';
    if (anchored) in = out = 1;
    first = out;
    while (in < len) {
        if (name[in] == '/') {
            in++;
            continue;
        }
        const char *slash = memchr(name + in, '/', len - in);
        size_t n = slash ? (size_t)(slash - name) - in : len - in;
        if (n == 1 && name[in] == '.' && (slash || flags & PS_CLEAN_DROP_DOT)) {
            in += n;
            continue;
        }
        if (n == 2 && name[in] == '.' && name[in + 1] == '.' && flags & PS_CLEAN_REFUSE_DOTDOT) return -1;
        if (slash) n++;
        memmove(name + out, name + in, n);
        out += n;
        in += n;
    }
    if (out > first && name[out - 1] == '/' && !(flags & PS_CLEAN_KEEP_SLASH)) out--;
    if (!out) name[out++] = '.';
    name[out] = 0;
    return (long)out;
}

size_t name_sanitize(const char *s, size_t len, int depth, bool keep_dots, char *out) {
    size_t n = 0, begin = 0, i = 0;
    while (i < len) {
        if (s[i] == '/') {
            i++;
            continue;
        }
        const char *slash = memchr(s + i, '/', len - i);
        size_t part = slash ? (size_t)(slash - s) - i : len - i, next = i + part;
        bool above = part == 2 && s[i] == '.' && s[i + 1] == '.';
        if (above && (depth <= 0 || n != begin)) {
            if (n > begin) n--;
            while (n > begin && out[n - 1] != '/') n--;
        } else if (keep_dots || part != 1 || s[i] != '.') {
            if (slash) part++;
            memmove(out + n, s + i, part);
            n += part;
            if (above) {
                depth--;
                begin = n;
            }
        }
        i = next;
    }
    if (!n) out[n++] = '.';
    out[n] = 0;
    return n;
}

/* Next component of a path: its start and length; false at the end. */
static bool component(const char **at, const char **start, size_t *n) {
    while (**at == '/') ++*at;
    if (!**at) return false;
    *start = *at;
    while (**at && **at != '/') ++*at;
    *n = (size_t)(*at - *start);
    return true;
}

static bool is_dotdot(const char *s, size_t n) { return n == 2 && s[0] == '.' && s[1] == '.'; }
static bool is_dot(const char *s, size_t n) { return n == 1 && s[0] == '.'; }

bool link_is_unsafe(const char *target, const char *path) {
    if (!*target || *target == '/') return true;
    int depth = 0;
    const char *at = path, *s;
    size_t n;
    while (component(&at, &s, &n)) {
        bool last = !strchr(at, '/'); /* the link's own name does not count, but ".." there does */
        if (is_dotdot(s, n))
            depth = 0;
        else if (!is_dot(s, n) && !last)
            depth++;
        if (last) break;
    }
    bool leading = true;
    at = target;
    while (component(&at, &s, &n)) {
        if (!is_dotdot(s, n)) {
            leading = false;
            if (*at && !is_dot(s, n)) depth++;
            continue;
        }
        /* ".." after a name could be turned around by replacing that name with a link; a bare leading ".." at the very
         * end is fine, "x/.." and "../.." are what rsync refuses there. */
        if (!leading || (!*at && s != target)) return true;
        if (--depth < 0) return true;
    }
    return false;
}

const char *full_fname(const ps_ctx *c, const char *path, char out[PS_FULL_FNAME]) {
    const char *above = "", *slash = "", *module = ps_str(c, PS_STR_MODULE);
    if (path[0] != '/' && ps_str(c, PS_STR_CURR_DIR)) {
        above = ps_str(c, PS_STR_CURR_DIR);
        if (above[strspn(above, "/")]) slash = "/";
    }
    int n = snprintf(out, PS_FULL_FNAME, "\"%s%s%s\"%s%s%s", above, slash, path, module ? " (in " : "", module ? module : "",
                     module ? ")" : "");
    if (n < 0) out[0] = 0;
    return out;
}
