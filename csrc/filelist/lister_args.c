/* Source arguments and names of --files-from: flist.c:send_file_list's loop, send_implied_dirs. */
#include "filelist/lister_inner.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* An argument taken apart: `dir` is gone to, `name` is what the list shows. */
typedef struct argument {
    char text[PS_LIMIT_NAME + 8];
    const char *dir; /* NULL: where the transfer began */
    size_t dir_len;
    char *name;
    size_t len;
    name_type type;
    bool absolute;        /* -R, and no "/./" in it */
    bool starts_with_dot; /* -R: "./name" sends the attributes of the directory itself too */
} argument;

static void split_plain(argument *a, size_t len) {
    char *text = a->text;
    bool above = len > 1 && text[len - 1] == '.' && text[len - 2] == '.' && (len == 2 || text[len - 3] == '/');
    if (above) text[len++] = '/';
    if (text[len - 1] == '/') text[len++] = '.';
    text[len] = 0;
    a->type = text[len - 1] == '.' && (len == 1 || text[len - 2] == '/') ? NAME_DOTDIR : NAME_NORMAL;
    char *slash = strrchr(text, '/');
    a->name = slash ? slash + 1 : text;
    a->len = len - (size_t)(a->name - text);
    if (!slash) return;
    *slash = 0;
    a->dir = text;
    a->dir_len = (size_t)(slash - text);
}

static void split_relative(argument *a) {
    char *text = a->text, *dot = strstr(text, "/./");
    a->type = NAME_NORMAL;
    a->name = text;
    if (dot) {
        *dot = 0;
        a->dir = text;
        a->dir_len = dot == text ? 0 : (size_t)name_clean(text, (size_t)(dot - text), 0); /* none left: it is "/" */
        a->name = dot + 3;
        while (*a->name == '/') a->name++;
        if (!*a->name) *--a->name = 0; /* room for "." */
    }
    if (!dot && *a->name == '/') { /* what is sent has no slash in front */
        a->dir = "";
        a->absolute = true;
        while (a->name[0] == '/' && a->name[1]) a->name++;
        if (*a->name == '/') *a->name = '.';
    }
    a->starts_with_dot = a->name[0] == '.' && a->name[1] == '/' && a->name[2];
    size_t n = (size_t)name_clean(a->name, strlen(a->name), PS_CLEAN_KEEP_SLASH | PS_CLEAN_DROP_DOT);
    if (n == 1 && *a->name == '.') {
        a->type = NAME_DOTDIR;
    } else if (n > 1 && a->name[n - 1] == '/') {
        a->name[--n] = 0;
        a->type = n == 1 && *a->name == '.' ? NAME_DOTDIR : NAME_SLASH_ENDING;
    }
    a->len = n;
}

/* ---- roots -------------------------------------------------------------------------------------------- */

/* rsync takes a directory for one that it knows only if the argument before was in it: otherwise what is in it is listed
 * again, and both are counted. */
static bool is_last_root(const ps_lister *l, const char *path, size_t len, bool slash) {
    const ps_list_root *r = &l->all->roots[l->last_root];
    return r->len == len && r->slash == slash && memcmp(root_path(l->all, r), path, len) == 0;
}

int lister_go_to_root(ps_lister *l, u32 index) {
    if (index == l->at_root) return PS_OK;
    l->at_root = index;
    if (!l->rules) return PS_OK;
    char base[PS_LIMIT_NAME + 2];
    const ps_list_root *r = &l->all->roots[index];
    size_t n = r->len;
    base[0] = '/';
    memcpy(base + 1, root_path(l->all, r), n);
    return rules_set_base(l->rules, base, n ? n + 1 : 0, l->root);
}

/* flist.c:change_pathname. false: the directory cannot be used, which has been reported; the argument is skipped. */
static bool go_to(ps_lister *l, const argument *a, int *status) {
    const char *dir = a->dir;
    size_t len = a->dir_len;
    const ps_list_root *start = &l->all->roots[0];
    bool absolute = l->anywhere && dir && (!len || *dir == '/');
    char path[2 * PS_LIMIT_NAME + 4], shown[PS_FULL_FNAME];
    u32 before = l->at_root, index = l->last_root;
    *status = lister_go_to_root(l, 0);
    if (*status != PS_OK) return false;
    if (!dir || (len == 1 && *dir == '.')) {
        l->last_root = 0;
        return true;
    }
    while (absolute && len && *dir == '/') dir++, len--;
    size_t n = absolute ? 0 : start->len;
    if (n) memcpy(path, root_path(l->all, start), n);
    if (n && len) path[n++] = '/';
    memcpy(path + n, dir, len);
    n += len;
    path[n] = 0;
    bool known = n <= PS_LIMIT_NAME && is_last_root(l, path, n, a->absolute);
    int err = 0;
    if (n > PS_LIMIT_NAME)
        err = ENAMETOOLONG;
    else if (!known && l->rules && rules_path_excluded(l->rules, dir, len, false))
        err = ENOENT;
    else if (!known && root_dir(l->root, path, n) < 0)
        err = errno;
    if (err) {
        l->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(l->ctx, PS_LOG_ERROR_XFER, err, "rsync: [sender] change_dir %s failed", lister_shown(l, dir, shown));
        *status = lister_go_to_root(l, before);
        return false;
    }
    if (!known && (index = flists_add_root(l->all, path, n)) == UINT32_MAX) {
        *status = ps_fail_memory(l->ctx, "the file list");
        return false;
    }
    l->all->roots[index].slash = a->absolute;
    l->last_root = index;
    *status = lister_go_to_root(l, index);
    return *status == PS_OK;
}

/* A user's directory, counted from the root directory. */
static size_t place_of(const ps_lister *l, const char *arg, size_t len, char out[2 * PS_LIMIT_NAME + 4]) {
    const ps_list_root *start = &l->all->roots[0];
    size_t n = *arg == '/' ? 0 : start->len;
    memcpy(out, root_path(l->all, start), n);
    if (n) out[n++] = '/';
    while (len && *arg == '/') arg++, len--;
    if (len > PS_LIMIT_NAME) return SIZE_MAX;
    memcpy(out + n, arg, len);
    out[n + len] = 0;
    return n + len;
}

int lister_files_base(ps_lister *l, const char *arg, size_t len) {
    char path[2 * PS_LIMIT_NAME + 4], shown[PS_FULL_FNAME];
    size_t n = l->anywhere ? place_of(l, arg, len, path) : name_sanitize(arg, len, 0, false, path);
    if (n > PS_LIMIT_NAME) return ps_fail(l->ctx, 3, ENAMETOOLONG, "the source directory's path is too long");
    while (n && path[n - 1] == '/') path[--n] = 0;
    if (n == 1 && *path == '.') n = 0;
    int err = 0;
    if (l->rules && n && rules_path_excluded(l->rules, path, n, false))
        err = ENOENT;
    else if (root_dir(l->root, path, n) < 0)
        err = errno;
    if (err) {
        ps_log_errno(l->ctx, PS_LOG_ERROR_XFER, err, "rsync: [sender] change_dir %s failed", full_fname(l->ctx, path, shown));
        return ps_fail(l->ctx, 3, err, "the source directory of --files-from cannot be used");
    }
    if (!n && !l->anywhere) return PS_OK;
    l->all->root_count = 0; /* nothing has used the first root yet */
    l->at_root = UINT32_MAX;
    if (flists_add_root(l->all, path, n) == UINT32_MAX) return ps_fail_memory(l->ctx, "the file list");
    return lister_go_to_root(l, 0);
}

/* ---- -R: the directories on the way --------------------------------------------------------------------- */

static int send_implied(ps_lister *l, const char *path, size_t len, u16 flags, ps_file **made) {
    bool follow = l->follow_links, filter = l->any_filter, dirs = l->want_dirs;
    l->follow_links = l->want_dirs = true;
    l->any_filter = false;
    int status = lister_name(l, path, len, -1, NULL, NULL, (u16)((flags | PS_F_IMPLIED_DIR) & ~(PS_F_TOP_DIR | PS_F_CONTENT_DIR)),
                             FILTER_ALL, made);
    l->follow_links = follow;
    l->any_filter = filter;
    l->want_dirs = dirs;
    return status;
}

/* Without sub-lists: all directories above the name that the last argument did not share, parents first. */
static int send_all_implied(ps_lister *l, const char *name, size_t limit, u16 flags) {
    size_t same = 0;
    i32 depth = 0;
    const char *last = l->implied_path;
    for (size_t i = 0;; i++) {
        if (i == limit) {
            if (last[i] == '/' || !last[i]) return PS_OK;
            break;
        }
        if (last[i] != name[i]) break;
        if (name[i] == '/') {
            same = i;
            depth++;
        }
    }
    for (size_t i = same + 1; i <= limit; i++) {
        if (i < limit && name[i] != '/') continue;
        char path[PS_LIMIT_NAME + 1];
        memcpy(path, name, i);
        path[i] = 0;
        ps_file *made;
        if (send_implied(l, path, i, flags, &made) != PS_OK) return PS_FAIL;
        depth++;
        ps_root *inner = made && S_ISDIR(made->mode) && l->rules && rules_any_merge(l->rules) ? lister_inner(l) : NULL;
        if (inner && rules_change_dir(l->rules, inner, path, i, depth) != PS_OK) return PS_FAIL;
    }
    memcpy(l->implied_path, name, limit);
    l->implied_path[limit] = 0;
    return PS_OK;
}

static bool grow_heads(ps_lister *l, u32 dir) {
    u32 cap = l->rel_head_cap ? l->rel_head_cap : 64;
    while (cap <= dir) cap *= 2;
    u32(*grown)[2] = realloc(l->rel_head, cap * sizeof *grown);
    if (!grown) return false;
    for (u32 i = l->rel_head_cap; i < cap; i++) grown[i][0] = grown[i][1] = UINT32_MAX;
    l->rel_head = grown;
    l->rel_head_cap = cap;
    return true;
}

static int put_off(ps_lister *l, u32 dir, const char *name, size_t len, name_type type) {
    if (l->rel_count == l->rel_cap) {
        u32 cap = l->rel_cap ? l->rel_cap * 2 : 32;
        rel_name *grown = realloc(l->rel, cap * sizeof *grown);
        if (!grown) return ps_fail_memory(l->ctx, "the file list");
        l->rel = grown;
        l->rel_cap = cap;
    }
    u32 text = arena_put(&l->text, name, len);
    if (text == PS_NO_OFFSET || (dir >= l->rel_head_cap && !grow_heads(l, dir))) return ps_fail_memory(l->ctx, "the file list");
    u32 *head = l->rel_head[dir], here = l->rel_count++;
    l->rel[here] = (rel_name){text, (u32)len, type, UINT32_MAX};
    if (head[0] == UINT32_MAX)
        head[0] = here;
    else
        l->rel[head[1]].next = here;
    head[1] = here;
    return PS_OK;
}

/* With sub-lists: the first directory now, the rest of the name with that directory's own list. */
static int send_first_implied(ps_lister *l, const char *path, size_t limit, size_t len, u16 flags, name_type type) {
    u32 dir = flists_dir(l->all, path, limit, l->at_root);
    if (dir == UINT32_MAX) return ps_fail_memory(l->ctx, "the file list");
    if (!l->rel_known || l->rel_dir != dir) {
        ps_file *made;
        char name[PS_LIMIT_NAME + 1];
        memcpy(name, path, limit);
        name[limit] = 0;
        if (send_implied(l, name, limit, flags, &made) != PS_OK) return PS_FAIL;
        l->rel_known = made && S_ISDIR(made->mode);
        l->rel_dir = dir;
        if (!l->rel_known) l->rel_dir = UINT32_MAX;
    }
    if (!l->rel_known) return PS_OK; /* it has vanished */
    return put_off(l, dir, path + limit + 1, len - limit - 1, type);
}

int lister_rel_names(ps_lister *l, u32 dir, const char *path, size_t len) {
    char name[2 * PS_LIMIT_NAME + 4];
    u16 flags = PS_F_CONTENT_DIR;
    if (dir >= l->rel_head_cap) return PS_OK;
    u32 next = l->rel_head[dir][0];
    l->rel_head[dir][0] = UINT32_MAX;
    while (next != UINT32_MAX) {
        rel_name r = l->rel[next]; /* a copy: what is put off meanwhile, for deeper directories, may move it */
        next = r.next;
        size_t n = len;
        memcpy(name, path, n);
        name[n++] = '/';
        memcpy(name + n, arena_at(&l->text, r.text), r.len + 1);
        const char *slash = strchr(name + n, '/');
        n += r.len;
        if (n > PS_LIMIT_NAME) continue;
        int status;
        ps_file *made;
        if (slash) {
            status = send_first_implied(l, name, (size_t)(slash - name), n, flags, r.type);
        } else {
            struct stat st;
            if (r.type != NAME_NORMAL && lister_stat(l, name, n, true, &st) < 0) {
                lister_stat_error(l, errno, name, true);
                continue;
            }
            status = lister_name(l, name, n, -1, NULL, r.type != NAME_NORMAL ? &st : NULL, flags | PS_F_TOP_DIR, FILTER_ALL, &made);
        }
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

static bool names_parent(const char *path) {
    for (const char *p = path; (p = strstr(p, "..")); p += 2)
        if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/')) return true;
    return false;
}

/* A name of --files-from leads through no symlink of another user, up to its last component unless that must be a directory. */
static bool trusted_way(ps_lister *l, const argument *a) {
    const ps_list_root *r = &l->all->roots[l->at_root];
    size_t n = a->len;
    if (a->type == NAME_NORMAL)
        while (n && a->name[n - 1] != '/') n--;
    if (!n) return true;
    char way[PS_LIMIT_NAME + 1];
    memcpy(way, a->name, n);
    way[n] = 0;
    int base = root_dir(l->root, root_path(l->all, r), r->len);
    int fd = base < 0 ? -1 : open_trusted(base, way, O_PATH, false);
    if (fd >= 0) close(fd);
    return fd >= 0 || errno != ELOOP;
}

/* ---- one argument ------------------------------------------------------------------------------------------ */

static int send_argument(ps_lister *l, const argument *a, const struct stat *st, u16 flags) {
    const ps_opts *o = &l->ctx->o;
    ps_file *made;
    l->one_dev = (u64)st->st_dev;
    if (!o->recurse && !(l->want_dirs && a->type != NAME_NORMAL))
        return lister_name(l, a->name, a->len, -1, NULL, st, flags, FILTER_NONE, &made);
    int status = lister_name(l, a->name, a->len, -1, NULL, st, flags | PS_F_TOP_DIR | PS_F_CONTENT_DIR, FILTER_NONE, &made);
    if (status != PS_OK || !made || !S_ISDIR(made->mode) || made->flags & PS_F_MOUNT_DIR) return status;
    if (!o->inc_recurse) return lister_push_dir(l, a->name, a->len, flags, o->recurse, true);
    if (a->type != NAME_DOTDIR) return PS_OK; /* its list comes later */
    if (l->depth < 0) {
        l->depth = 0;
        ps_root *inner = l->rules && rules_any_merge(l->rules) ? lister_inner(l) : NULL;
        if (inner && rules_change_dir(l->rules, inner, "", 0, 0) != PS_OK) return PS_FAIL;
    }
    return lister_push_dir(l, a->name, a->len, flags, false, false);
}

int lister_argument(ps_lister *l, const char *arg, size_t len) {
    ps_ctx *c = l->ctx;
    const ps_opts *o = &c->o;
    argument a = {.dir = NULL};
    char shown[PS_FULL_FNAME];
    u16 flags = o->recurse ? PS_F_CONTENT_DIR : 0;
    if (len > PS_LIMIT_NAME) return ps_fail(c, 22, 0, "overflow: a source argument of %zu bytes", len);
    if (l->anywhere && !l->names_given) {
        memcpy(a.text, len ? arg : ".", len ? len : 1);
        len = len ? len : 1;
        a.text[len] = 0;
    } else {
        len = name_sanitize(arg, len, 0, o->relative, a.text);
    }
    if (o->relative)
        split_relative(&a);
    else
        split_plain(&a, len);
    if (l->anywhere && o->relative && names_parent(a.name)) return ps_fail(c, 1, 0, "found \"..\" dir in relative path: %s%s", a.absolute ? "/" : "", a.name);
    int status;
    if (!go_to(l, &a, &status)) return status;
    if (a.starts_with_dot && !l->implied_dot_sent) {
        ps_file *made;
        l->implied_dot_sent = true;
        status = lister_name(l, ".", 1, -1, NULL, NULL, (u16)((flags | PS_F_IMPLIED_DIR) & ~PS_F_CONTENT_DIR), FILTER_ALL, &made);
        if (status != PS_OK) return status;
    }
    struct stat st;
    int err = 0;
    if (l->anywhere && l->names_given && !trusted_way(l, &a))
        err = errno;
    else if (lister_stat(l, a.name, a.len, o->copy_dirlinks || a.type != NAME_NORMAL, &st) < 0)
        err = errno;
    else if ((a.type != NAME_DOTDIR && lister_excluded(l, a.name, a.len, S_ISDIR(st.st_mode), FILTER_SERVER)) ||
             (o->relative && l->rules && rules_path_excluded(l->rules, a.name, a.len, true)))
        err = ENOENT;
    if (err) {
        if (err != ENOENT) c->io_error |= PS_IOERR_GENERAL; /* something may be there that must not be deleted */
        ps_log_errno(c, PS_LOG_ERROR_XFER, err, "rsync: [sender] link_stat %s failed", lister_shown(l, a.name, shown));
        return PS_OK;
    }
    if (a.type != NAME_DOTDIR && lister_excluded(l, a.name, a.len, S_ISDIR(st.st_mode), FILTER_ALL)) return PS_OK;
    if (S_ISDIR(st.st_mode) && !l->want_dirs) {
        ps_log(c, PS_LOG_INFO, "skipping directory %s%s\n", a.absolute ? "/" : "", a.name);
        return PS_OK;
    }
    if (o->inc_recurse && o->relative) {
        const char *slash = memchr(a.name + 1, '/', a.len - 1);
        if (slash) return send_first_implied(l, a.name, (size_t)(slash - a.name), a.len, flags, a.type);
    } else if (o->relative && (o->implied_dirs || o->protocol >= 30)) { /* without -R's directories, they are marked as such */
        const char *slash = memrchr(a.name, '/', a.len);
        if (slash && slash != a.name && (status = send_all_implied(l, a.name, (size_t)(slash - a.name), flags)) != PS_OK) return status;
    }
    return send_argument(l, &a, &st, flags);
}
