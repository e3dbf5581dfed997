/* Rules that come from per-directory merge files, and the stack of directories. */
#include "filter/rules_inner.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MERGE_DEPTH_MAX 32 /* files merged by rules within files */

/* A path that begins with a slash: no "." and "..", none above the root, no double slashes; a slash at the end stays. */
static size_t clean_path(char *path, size_t n) {
    bool slash_last = n > 1 && path[n - 1] == '/';
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        while (i < n && path[i] == '/') i++;
        const char *slash = memchr(path + i, '/', n - i);
        size_t len = slash ? (size_t)(slash - path) - i : n - i;
        if (len == 2 && path[i] == '.' && path[i + 1] == '.') {
            while (out && path[--out] != '/') {}
        } else if (len && !(len == 1 && path[i] == '.')) {
            path[out++] = '/';
            memmove(path + out, path + i, len);
            out += len;
        }
        i += len;
    }
    if (!out || slash_last) path[out++] = '/';
    path[out] = 0;
    return out;
}

int rules_set_base(ps_rules *r, const char *base, size_t len, ps_root *top) {
    if (len > PS_LIMIT_NAME) return ps_fail(r->ctx, 1, ENAMETOOLONG, "the path of the transfer is too long");
    memcpy(r->base, base, len);
    while (len && r->base[len - 1] == '/') len--;
    r->base[len] = 0;
    r->base_len = len;
    r->top = top;
    return PS_OK;
}

static bool set_dir(ps_rules *r, const char *dir, size_t len) {
    if (len && *dir == '/') {
        if (len > PS_LIMIT_NAME) return false;
        memcpy(r->dir, dir, len);
    } else {
        if (r->base_len + 1 + len + 1 >= sizeof r->dir) return false;
        memcpy(r->dir, r->base, r->base_len);
        r->dir[r->base_len] = '/';
        memcpy(r->dir + r->base_len + 1, dir, len);
        len += r->base_len + 1;
    }
    r->dir_len = clean_path(r->dir, len);
    if (r->dir_len > 1 && r->dir[r->dir_len - 1] != '/') r->dir[r->dir_len++] = '/';
    r->dir[r->dir_len] = 0;
    return true;
}

/* Opens a path of the module: beneath the transfer's root where it lies there, else beneath the module's, else (for a client) as
 * it is. A name without a slash, from a rule in a merge file, belongs to the transfer's directory. */
static int open_merge_file(ps_rules *r, ps_root *root, const char *path) {
    int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC; /* no waiting for the writer of a named pipe */
    if (*path != '/') return root_openat(root, path, flags, 0);
    if (strncmp(path, r->base, r->base_len) == 0 && path[r->base_len] == '/') {
        int fd = root_openat(root, path + r->base_len + 1, flags, 0);
        if (fd >= 0 || errno == ENOENT || r->top || r->ctx->o.am_daemon) return fd;
    }
    if (r->top) return root_openat(r->top, path + 1, flags, 0);
    if (r->ctx->o.am_daemon) {
        errno = ENOENT;
        return -1;
    }
    return open(path, flags);
}

/* The whole text of a regular file. false with errno set; a file that is none counts as missing. */
static bool read_merge_file(ps_rules *r, ps_root *root, const char *path, ps_buf *out) {
    int fd = open_merge_file(r, root, path);
    if (fd < 0) return false;
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (ok && !S_ISREG(st.st_mode)) {
        errno = ENOENT;
        ok = false;
    }
    while (ok) {
        if (buf_used(out) > PS_LIMIT_RULES_FILE || !buf_reserve(out, 16384)) {
            errno = EFBIG;
            ok = false;
            break;
        }
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            ok = n == 0;
            break;
        }
        out->len += (size_t)n;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return ok;
}

/* Reads and parses one file into the list. per_dir: of a dir-merge rule, where a missing file is no error. */
static int merge_file(ps_rules *r, ps_root *root, rule_list *l, const char *path, u32 flags, bool per_dir) {
    const char *shown = flags & PS_RULE_FROM_FILE ? "" : path;
    if (r->merge_depth >= MERGE_DEPTH_MAX) {
        if (!per_dir) return ps_fail(r->ctx, 11, 0, "merge-file include depth limit (%d) exceeded at %s", MERGE_DEPTH_MAX, shown);
        ps_log(r->ctx, PS_LOG_ERROR, "merge-file include depth limit (%d) exceeded at %s\n", MERGE_DEPTH_MAX, shown);
        return PS_OK;
    }
    if (r->daemon.head && rules_check_daemon(r, path, strlen(path), false) < 0) return PS_OK;
    ps_buf text = {0};
    if (!read_merge_file(r, root, path, &text)) {
        int err = errno;
        buf_free(&text);
        if (per_dir) return PS_OK;
        const char *kind = flags & PS_RULE_INCLUDE ? "in" : "ex";
        if (!*shown) return ps_fail(r->ctx, 11, 0, "failed to open %sclude file <rule from a file read earlier>", kind);
        return ps_fail(r->ctx, 11, err, "failed to open %sclude file %s: %s (%d)", kind, shown, strerror(err), err);
    }
    rule_table answer = {0}, *outer = r->answer;
    r->answer = &answer;
    int status = r->parser ? r->parser(r->handle, r, (const char *)buf_head(&text), buf_used(&text), shown, flags, per_dir)
                           : ps_fail(r->ctx, 1, 0, "no parser for merge files");
    r->answer = outer;
    buf_free(&text);
    if (status >= 0) {
        r->merge_depth++;
        status = rules_apply(r, l, &answer, per_dir);
        r->merge_depth--;
    } else if (!r->ctx->error.exit_code) {
        ps_fail(r->ctx, 1, 0, "cannot parse merge file %s", shown);
    }
    free(answer.ops);
    free(answer.text);
    return status < 0 ? PS_FAIL : PS_OK;
}

/* exclude.c:parse_merge_name. "" when it does not fit. */
static void merge_name(const ps_rules *r, const char *name, size_t n, char out[2 * PS_LIMIT_NAME + 4]) {
    bool keep = !r->parent_scan && (!n || !memchr(name + 1, '/', n - 1)) && (!n || *name != '/');
    size_t at = keep || *name == '/' ? 0 : r->dir_len;
    if (n > PS_LIMIT_NAME || at + n > PS_LIMIT_NAME) {
        *out = 0;
        return;
    }
    memcpy(out, r->dir, at);
    memcpy(out + at, name, n);
    out[at + n] = 0;
    if (!keep) clean_path(out, at + n);
}

static const char *last_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int add_merge_rule(ps_rules *r, rule_list *l, const char *name, size_t n, u32 flags) {
    r->has_merge = r->trust_sender = true;
    rule *x = rule_new("", 0, name, n, flags | PS_RULE_FINISH_SETUP);
    if (!x) return ps_fail_memory(r->ctx, "filter rules");
    for (u32 i = 0; i < r->merge_count; i++) {
        const rule *have = r->merges[i];
        if (have && strcmp(last_name(have->text), last_name(x->text)) == 0) {
            free(x); /* one list per file name; the first mention stands */
            return PS_OK;
        }
    }
    if (r->merge_count == r->merge_cap) {
        u32 cap = r->merge_cap ? 2 * r->merge_cap : 4;
        rule **more = realloc(r->merges, cap * sizeof *more);
        if (!more) {
            free(x);
            return ps_fail_memory(r->ctx, "filter rules");
        }
        r->merges = more;
        r->merge_cap = cap;
    }
    x->merge = calloc(1, sizeof *x->merge);
    if (!x->merge) {
        free(x);
        return ps_fail_memory(r->ctx, "filter rules");
    }
    r->merges[r->merge_count++] = x;
    list_append(l, x);
    return PS_OK;
}

int rules_apply(ps_rules *r, rule_list *l, const rule_table *t, bool per_dir) {
    char name[2 * PS_LIMIT_NAME + 4];
    for (u32 i = 0; i < t->count; i++) {
        u32 flags = t->ops[i].flags;
        const char *text = t->text + t->ops[i].text_off;
        size_t n = t->ops[i].text_len;
        if (flags & PS_RULE_CLEAR) {
            list_pop_local(r, l);
            l->head = NULL;
        } else if (flags & PS_RULE_PER_DIR) {
            if (r->parent_scan) {
                merge_name(r, text, n, name);
                if (!*name) continue;
                text = name;
                n = strlen(name);
            }
            if (add_merge_rule(r, l, text, n, flags) < 0) return PS_FAIL;
        } else if (flags & PS_RULE_MERGE) {
            merge_name(r, text, n, name);
            if (*name && r->root && merge_file(r, r->root, l, name, flags, false) < 0) return PS_FAIL;
        } else {
            /* in a per-directory file a leading slash means that directory */
            bool here = per_dir && n && *text == '/' && !(flags & PS_RULE_ABS_PATH);
            rule *x = rule_new(r->dir, here ? r->dir_len - 1 : 0, text, n, here ? flags | PS_RULE_ABS_PATH : flags);
            if (!x) return ps_fail_memory(r->ctx, "filter rules");
            list_append(l, x);
        }
    }
    return PS_OK;
}

/* The names of a merge rule: from now on only the last component of its path counts. */
static bool keep_last_name(rule *x, const char *name) {
    size_t n = strlen(name);
    if (!n || n > x->len) return false;
    memcpy(x->text, name, n + 1);
    x->len = (u16)n;
    return true;
}

/* exclude.c:setup_merge_file: a merge file named with a path is looked for in each directory from that path's down to the parent
 * of the transfer's. Changes r->dir. */
static int scan_parents(ps_rules *r, ps_root *root, rule *x) {
    char path[2 * PS_LIMIT_NAME + 4], target[2 * PS_LIMIT_NAME + 4], name[PS_LIMIT_NAME + 1];
    merge_name(r, x->text, x->len, path);
    if (*path != '/') return PS_OK;
    const char *last = last_name(path);
    size_t at = (size_t)(last - path), n = strlen(last);
    memcpy(name, last, n + 1);
    if (!keep_last_name(x, name)) return PS_OK;
    memcpy(target, r->dir, r->dir_len + 1);
    if (at > r->dir_len || memcmp(path, target, at) != 0) return PS_OK;
    rule_merge *m = x->merge;
    int status = PS_OK;
    r->parent_scan = true;
    while (target[at] && status == PS_OK && at + n <= PS_LIMIT_NAME) {
        memcpy(r->dir, target, at);
        r->dir[at] = 0;
        r->dir_len = at;
        memcpy(path, target, at);
        memcpy(path + at, name, n + 1);
        status = merge_file(r, root, &m->list, path, x->flags, true);
        if (x->flags & PS_RULE_NO_INHERIT) {
            list_pop_local(r, &m->list);
            m->list.head = NULL;
        }
        for (rule *y = m->list.tail ? m->list.head : NULL; y; y = y == m->list.tail ? NULL : y->next) {
            y->owned_next = m->found;
            m->found = y;
        }
        m->list.tail = NULL;
        at += strcspn(target + at, "/") + 1;
    }
    r->parent_scan = false;
    return status;
}

static int save_lists(ps_rules *r) {
    if (r->saved_count == r->saved_cap) {
        u32 cap = r->saved_cap ? 2 * r->saved_cap : 16;
        saved_lists **more = realloc(r->saved, cap * sizeof *more);
        if (!more) return ps_fail_memory(r->ctx, "filter rules");
        r->saved = more;
        r->saved_cap = cap;
    }
    saved_lists *s = calloc(1, sizeof *s + r->merge_count * sizeof *s->lists);
    if (!s) return ps_fail_memory(r->ctx, "filter rules");
    s->count = r->merge_count;
    for (u32 i = 0; i < s->count; i++)
        if (r->merges[i]) s->lists[i] = r->merges[i]->merge->list;
    r->saved[r->saved_count++] = s;
    return PS_OK;
}

/* One merge file of the directory being entered. */
static int enter_merge(ps_rules *r, ps_root *root, rule *x, const char *dir, size_t len) {
    rule_list *l = &x->merge->list;
    l->tail = NULL; /* what was local is inherited now */
    if (x->flags & PS_RULE_NO_INHERIT) l->head = NULL;
    if (x->flags & PS_RULE_FINISH_SETUP) {
        x->flags &= ~(u32)PS_RULE_FINISH_SETUP;
        if (scan_parents(r, root, x) < 0) return PS_FAIL;
        set_dir(r, dir, len);
    }
    char path[2 * PS_LIMIT_NAME + 4];
    if (r->dir_len + x->len > PS_LIMIT_NAME) {
        r->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log(r->ctx, PS_LOG_ERROR, "cannot add local filter rules in long-named directory: %s\n", r->dir);
        return PS_OK;
    }
    memcpy(path, r->dir, r->dir_len);
    memcpy(path + r->dir_len, x->text, x->len + 1u);
    return merge_file(r, root, l, path, x->flags, true);
}

int rules_enter(ps_rules *r, ps_root *root, const char *dir, size_t len) {
    if (!r->merge_count) return 0;
    if (!set_dir(r, dir, len)) return ps_fail(r->ctx, 11, ENAMETOOLONG, "the path of a directory is too long for its filter rules");
    if (save_lists(r) < 0) return PS_FAIL;
    r->root = root;
    int status = PS_OK;
    for (u32 i = 0; status == PS_OK && i < r->merge_count; i++) /* grows when a file names further ones */
        if (r->merges[i]) status = enter_merge(r, root, r->merges[i], dir, len);
    r->root = NULL;
    return status < 0 ? PS_FAIL : (int)r->saved_count;
}

static void leave_one(ps_rules *r) {
    saved_lists *s = r->saved[--r->saved_count];
    for (u32 i = r->merge_count; i-- > 0;)
        if (i < r->merge_count && r->merges[i]) list_pop_local(r, &r->merges[i]->merge->list);
    for (u32 i = 0; i < s->count && i < r->merge_count; i++)
        if (r->merges[i]) r->merges[i]->merge->list = s->lists[i];
    free(s);
}

void rules_leave(ps_rules *r, int token) {
    while (token > 0 && r->saved_count >= (u32)token) leave_one(r);
}

int rules_change_dir(ps_rules *r, ps_root *root, const char *dir, size_t len, int depth) {
    u32 keep = dir && depth > 0 ? (u32)depth : 0;
    while (r->token_count > keep) rules_leave(r, r->tokens[--r->token_count]);
    if (!dir) return PS_OK;
    if (keep >= r->token_cap) {
        u32 cap = keep + 32;
        int *more = realloc(r->tokens, cap * sizeof *more);
        if (!more) return ps_fail_memory(r->ctx, "filter rules");
        r->tokens = more;
        r->token_cap = cap;
    }
    while (r->token_count < keep) r->tokens[r->token_count++] = 0;
    int token = rules_enter(r, root, dir, len);
    if (token < 0) return PS_FAIL;
    r->tokens[r->token_count++] = token;
    return PS_OK;
}

int ps_rules_enter(ps_rules *r, int dirfd, const char *dir, size_t len) {
    int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    ps_root *root = fd < 0 ? NULL : root_from_fd(r->ctx, fd);
    if (!root) return ps_fail(r->ctx, 11, errno, "cannot use the directory's descriptor: %s", strerror(errno));
    int token = rules_enter(r, root, dir, len);
    root_free(root);
    return token;
}

void ps_rules_leave(ps_rules *r, int token) { rules_leave(r, token); }
