/* Deletion on the receiving side: what is not in the list (delete_in_dir), and what stands in the way (delete.c). */
#include "generator/generator_inner.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- what a directory holds ----------------------------------------------------------------------------- */

/* Entries found in a directory, as a list so that they sort as the transfer's do. uid: 1 when the entry is ours. */
typedef struct found {
    ps_flist list;
    u32 dir;
    bool spared; /* an entry was left out by a rule that does not perish with its directory */
} found;

static void found_free(found *x) {
    free(x->list.files);
    arena_free(&x->list.names);
}

typedef struct sort_context { const ps_flists *all; const ps_flist *l; } sort_context;

static int compare_found(const void *a, const void *b, void *owner) {
    const sort_context *s = owner;
    return file_compare(s->all, s->l, a, s->l, b);
}

static bool excluded(ps_gen *g, const char *path, size_t n, bool is_dir) {
    if (!g->rules) return false;
    if (rules_any_daemon(g->rules) && rules_check_daemon(g->rules, path, n, is_dir) < 0) return true;
    return rules_any(g->rules) && rules_check(g->rules, path, n, is_dir, PS_SIDE_RECEIVER) < 0;
}

/* The kids of the directory in the current list, hashed by name. */
static u32 name_hash(const char *name, size_t n) {
    u32 h = 2166136261u;
    for (size_t i = 0; i < n; i++) h = (h ^ (u8)name[i]) * 16777619u;
    return h ^ h >> 15;
}

void gen_kids_free(dir_kids *k) {
    free(k->order);
    free(k->start);
    free(k->table);
}

/* Sorts the current list's entries by directory, once per list. */
static bool index_kids(ps_gen *g) {
    dir_kids *k = &g->kids;
    const ps_flist *l = g->cur;
    if (k->list == l) return true; /* directory names that came later are of no entry in it */
    u32 dirs = g->all->dir_count;
    if (k->cap_order < l->count) {
        u32 *grown = realloc(k->order, l->count * sizeof *grown);
        if (!grown) return false;
        k->order = grown;
        k->cap_order = l->count;
    }
    if (k->cap_start < dirs + 2) {
        u32 cap = dirs + dirs / 2 + 2, *grown = realloc(k->start, cap * sizeof *grown);
        if (!grown) return false;
        k->start = grown;
        k->cap_start = cap;
    }
    memset(k->start, 0, (dirs + 2) * sizeof *k->start);
    for (u32 i = 0; i < l->count; i++) k->start[l->files[i].dir + 2]++;
    for (u32 d = 2; d < dirs + 2; d++) k->start[d] += k->start[d - 1];
    for (u32 i = 0; i < l->count; i++) k->order[k->start[l->files[i].dir + 1]++] = i;
    k->list = l;
    k->dirs = dirs;
    return true;
}

/* Under inc_recurse a list holds one directory's entries (the first: the arguments): all of it is the index. */
static bool load_kids(ps_gen *g, u32 dir) {
    dir_kids *k = &g->kids;
    const ps_flist *l = g->cur;
    u32 from = 0, to = l->count;
    if (!g->c->o.inc_recurse) {
        if (!index_kids(g)) return false;
        from = dir < k->dirs ? k->start[dir] : 0;
        to = dir < k->dirs ? k->start[dir + 1] : 0;
    }
    u32 want = 16;
    while (want < (to - from) * 2) want *= 2;
    if (k->table_cap < want) {
        free(k->table);
        k->table = malloc(want * sizeof *k->table);
        k->table_cap = k->table ? want : 0;
        if (!k->table) return false;
    }
    k->table_cap = k->table_cap > want * 8 ? want : k->table_cap;
    memset(k->table, 0xff, k->table_cap * sizeof *k->table);
    for (u32 i = from; i < to; i++) {
        u32 at = g->c->o.inc_recurse ? i : k->order[i];
        const ps_file *f = &l->files[at];
        if (!file_active(f) || f->dir != dir) continue;
        u32 h = name_hash(file_name(l, f), f->name_len) & (k->table_cap - 1);
        while (k->table[h] != UINT32_MAX) h = (h + 1) & (k->table_cap - 1);
        k->table[h] = at;
    }
    return true;
}

static bool in_list(const ps_gen *g, const char *name, size_t n) {
    const dir_kids *k = &g->kids;
    const ps_flist *l = g->cur;
    for (u32 h = name_hash(name, n) & (k->table_cap - 1); k->table[h] != UINT32_MAX; h = (h + 1) & (k->table_cap - 1)) {
        const ps_file *f = &l->files[k->table[h]];
        if (f->name_len == n && memcmp(file_name(l, f), name, n) == 0) return true;
    }
    return false;
}

/* One name of a directory into x, unless a rule or the list keeps it. */
static bool note_entry(ps_gen *g, found *x, int dirfd, const char *path, size_t above, const struct dirent *e, bool listed) {
    size_t n = strlen(e->d_name);
    if (listed && in_list(g, e->d_name, n)) return true;
    struct stat st;
    if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) return true;
    bool is_dir = S_ISDIR(st.st_mode);
    if (excluded(g, path, above + n, is_dir)) {
        x->spared = true;
        return true;
    }
    bool mount = is_dir && g->c->o.one_file_system && st.st_dev != g->filesystem_dev;
    if (mount && g->c->o.one_file_system > 1) {
        if (g->c->o.info_mount >= 1) ps_log(g->c, PS_LOG_INFO, "[generator] skipping mount-point dir %s\n", path);
        return true;
    }
    ps_file *f = flist_push(&x->list);
    u32 name = f ? arena_put(&x->list.names, e->d_name, n) : PS_NO_OFFSET;
    if (name == PS_NO_OFFSET) return !gen_fail_memory(g);
    f->name = name;
    f->name_len = (u16)n;
    f->dir = x->dir;
    f->mode = st.st_mode;
    f->flags = mount ? PS_F_MOUNT_DIR : 0;
    f->uid = st.st_uid == g->our_uid;
    return true;
}

/* get_dirlist. `path` has room for a name after it and is restored. listed: only what the current list has not. */
static bool read_dir(ps_gen *g, char path[PS_LIMIT_NAME + 1], u32 dir, bool listed, found *x) {
    char full[PS_FULL_FNAME];
    memset(x, 0, sizeof *x);
    x->dir = dir;
    size_t n = strlen(path), above = n;
    int dirfd = root_dir(g->root, path, n);
    int fd = dirfd < 0 ? -1 : openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0) close(fd);
        if (errno != ENOENT) {
            g->c->io_error |= PS_IOERR_GENERAL;
            gen_errno(g, errno, "opendir %s failed", full_fname(g->c, path, full));
        }
        return true;
    }
    if (n == 1 && *path == '.')
        above = 0; /* names of the top have no "./" before them */
    else if (above < PS_LIMIT_NAME)
        path[above++] = '/';
    bool ok = true;
    const struct dirent *e;
    while (ok && (errno = 0, e = readdir(d))) {
        size_t len = strlen(e->d_name);
        if (e->d_name[0] == '.' && (!e->d_name[1] || (e->d_name[1] == '.' && !e->d_name[2]))) continue;
        if (above + len > PS_LIMIT_NAME) continue;
        memcpy(path + above, e->d_name, len + 1);
        ok = note_entry(g, x, dirfd, path, above, e, listed);
    }
    int err = errno;
    if (above)
        path[n] = 0;
    else
        memcpy(path, ".", 2);
    if (ok && err) {
        g->c->io_error |= PS_IOERR_GENERAL;
        gen_errno(g, err, "readdir(%s)", full_fname(g->c, path, full));
    }
    closedir(d);
    sort_context s = {g->all, &x->list};
    if (x->list.count > 1) qsort_r(x->list.files, x->list.count, sizeof *x->list.files, compare_found, &s);
    return ok;
}

static void join(char path[PS_LIMIT_NAME + 1], size_t n, const found *x, const ps_file *f) {
    size_t above = n == 1 && *path == '.' ? 0 : n + 1;
    if (above + f->name_len > PS_LIMIT_NAME) return;
    if (above) path[n] = '/';
    memcpy(path + above, file_name(&x->list, f), f->name_len + 1u);
}

/* ---- delete.c ---------------------------------------------------------------------------------------------- */

static void log_deletion(ps_gen *g, const char *path, u32 mode) {
    ps_stats *s = &g->c->stats;
    char aside[2 * PS_LIMIT_NAME + 2];
    if (g->delete_aside) {
        snprintf(aside, sizeof aside, "%s/%s", g->delete_aside, path);
        path = aside;
    }
    if (g->c->o.am_server) {
        size_t n = strlen(path) + (S_ISDIR(mode) ? 1 : 0); /* a directory's name is sent with its NUL */
        if (!mux_out_message(g->out, PS_MSG_DELETED, path, n)) gen_fail_memory(g);
    }
    render_delete(g->c, path, mode);
    s->deleted_files++;
    switch (gen_file_type(mode)) {
    case FT_REG: break;
    case FT_DIR: s->deleted_dirs++; break;
    case FT_SYMLINK: s->deleted_symlinks++; break;
    case FT_DEVICE: s->deleted_devices++; break;
    default: s->deleted_specials++; break;
    }
}

static int remove_name(ps_gen *g, const char *path, bool is_dir) {
    if (g->c->o.dry_run) return 0;
    const char *base;
    if (is_dir) root_forget(g->root, path, strlen(path));
    int dir = root_parent(g->root, path, &base);
    return dir < 0 ? -1 : unlinkat(dir, base, is_dir ? AT_REMOVEDIR : 0);
}

static void make_writable(ps_gen *g, const char *path, u32 mode) {
    const char *base;
    int dir = g->c->o.dry_run ? -1 : root_parent(g->root, path, &base);
    if (dir >= 0) attrs_chmod(dir, base, (mode | S_IWUSR) & GEN_MODE_BITS);
}

static bool delete_entries(ps_gen *g, char path[PS_LIMIT_NAME + 1], const found *x, u32 flags);

/* The directory is about to go: deletes what is in it (DEL_RECURSE), or only looks whether there is something. */
static del_result empty_dir(ps_gen *g, char path[PS_LIMIT_NAME + 1], u32 flags) {
    size_t n = strlen(path);
    int token = g->rules && rules_any_merge(g->rules) ? rules_enter(g->rules, g->root, path, n) : -1;
    found x;
    u32 dir = flists_dir(g->all, path, n, 0);
    bool ok = dir != UINT32_MAX && read_dir(g, path, dir, false, &x);
    if (dir == UINT32_MAX) memset(&x, 0, sizeof x);
    del_result result = ok && !x.spared ? DR_SUCCESS : DR_NOT_EMPTY;
    if (x.list.count) {
        if (!(flags & DEL_RECURSE))
            result = DR_NOT_EMPTY;
        else if (!delete_entries(g, path, &x, (flags & ~(DEL_RECURSE | DEL_MAKE_ROOM | DEL_NO_UID_WRITE)) | DEL_DIR_IS_EMPTY))
            result = DR_NOT_EMPTY;
    }
    path[n] = 0;
    found_free(&x);
    if (token >= 0) rules_leave(g->rules, token);
    if (result == DR_NOT_EMPTY) ps_log(g->c, PS_LOG_INFO, "cannot delete non-empty directory: %s\n", path);
    return result;
}

static del_result delete_path(ps_gen *g, char path[PS_LIMIT_NAME + 1], u32 mode, u32 flags);

static bool delete_entries(ps_gen *g, char path[PS_LIMIT_NAME + 1], const found *x, u32 flags) {
    size_t n = strlen(path);
    bool all = true;
    for (u32 i = x->list.count; i-- && !g->failed;) {
        const ps_file *f = &x->list.files[i];
        if (f->flags & PS_F_MOUNT_DIR) {
            all = false;
            continue;
        }
        join(path, n, x, f);
        if (!(f->mode & S_IWUSR) && g->c->o.am_root <= 0 && f->uid) make_writable(g, path, f->mode);
        if (S_ISDIR(f->mode) && empty_dir(g, path, flags | DEL_RECURSE) != DR_SUCCESS) all = false;
        if (delete_path(g, path, f->mode, flags) != DR_SUCCESS) all = false;
    }
    return all;
}

static void could_not_make_way(ps_gen *g, const char *path, u32 flags) {
    const char *what = flags & DEL_FOR_FILE      ? "regular file"
                       : flags & DEL_FOR_DIR     ? "directory"
                       : flags & DEL_FOR_SYMLINK ? "symlink"
                       : flags & DEL_FOR_DEVICE  ? "device file"
                                                 : "special file";
    ps_log(g->c, PS_LOG_ERROR_XFER, "could not make way for %s %s: %s\n", flags & DEL_FOR_BACKUP ? "backup" : "new", what, path);
}

static del_result remove_entry(ps_gen *g, const char *path, u32 mode, u32 flags) {
    bool is_dir = S_ISDIR(mode);
    if (!(flags & DEL_MAKE_ROOM) && g->c->o.max_delete >= 0 && g->c->stats.deleted_files >= g->c->o.max_delete) {
        g->skipped_deletes++;
        return DR_AT_LIMIT;
    }
    bool keep = !is_dir && gen_backs_up(g) && !(flags & DEL_FOR_BACKUP) &&
                (ps_str(g->c, PS_STR_BACKUP_DIR) || !gen_is_backup(g, path));
    int kept = keep ? gen_make_backup(g, path, true) : GEN_BACKUP_COPIED;
    const char *what = is_dir ? "rmdir" : kept == GEN_BACKUP_COPIED ? "unlink" : "make_backup";
    if (kept == GEN_BACKUP_COPIED ? remove_name(g, path, is_dir) == 0 : kept != GEN_BACKUP_FAILED) {
        if (!(flags & DEL_MAKE_ROOM)) log_deletion(g, path, mode);
        return DR_SUCCESS;
    }
    if (is_dir && errno == ENOTEMPTY) {
        ps_log(g->c, PS_LOG_INFO, "cannot delete non-empty directory: %s\n", path);
        return DR_NOT_EMPTY;
    }
    if (errno == ENOENT) return DR_SUCCESS;
    gen_errno(g, errno, "delete_file: %s(%s) failed", what, path);
    return DR_FAILURE;
}

static del_result delete_path(ps_gen *g, char path[PS_LIMIT_NAME + 1], u32 mode, u32 flags) {
    if (flags & DEL_NO_UID_WRITE) make_writable(g, path, mode);
    del_result result = DR_SUCCESS;
    if (S_ISDIR(mode) && !(flags & DEL_DIR_IS_EMPTY)) {
        if (g->rules) rules_ignore_perishable(g->rules, true);
        result = empty_dir(g, path, flags);
        if (g->rules) rules_ignore_perishable(g->rules, false);
    }
    if (result == DR_SUCCESS) {
        result = remove_entry(g, path, mode, flags);
        if (result == DR_AT_LIMIT) return result;
    }
    if (result != DR_SUCCESS && flags & DEL_MAKE_ROOM) could_not_make_way(g, path, flags);
    return result;
}

del_result gen_delete_item(ps_gen *g, const char *path, u32 mode, u32 flags) {
    char room[PS_LIMIT_NAME + 1];
    size_t n = strlen(path);
    if (n > PS_LIMIT_NAME) return DR_FAILURE;
    memcpy(room, path, n + 1);
    return delete_path(g, room, mode, flags);
}

/* ---- what is not in the list -------------------------------------------------------------------------------- */

void gen_change_filter_dir(ps_gen *g, const char *path, int depth) {
    if (!g->rules || !rules_any_merge(g->rules)) return;
    if (rules_change_dir(g->rules, g->root, path, strlen(path), depth) == PS_FAIL) g->failed = true;
}

void gen_delete_leave(ps_gen *g) {
    if (!g->rules || !rules_any_merge(g->rules)) return;
    rules_change_dir(g->rules, g->root, NULL, 0, 0);
}

/* -x: is the directory on the filesystem of a top directory? Makes that the current one. */
static bool on_known_device(ps_gen *g, const ps_file *f, dev_t dev) {
    if (!g->c->o.one_file_system) return true;
    bool known = false;
    for (u32 i = 0; i < g->top_dev_count && !known; i++) known = g->top_devs[i] == dev;
    if (f->flags & PS_F_TOP_DIR) {
        if (!known) {
            dev_t *grown = realloc(g->top_devs, (g->top_dev_count + 1) * sizeof *grown);
            if (!grown) return !gen_fail_memory(g);
            g->top_devs = grown;
            g->top_devs[g->top_dev_count++] = dev;
        }
    } else if (g->filesystem_dev != dev && !known) {
        return false;
    }
    g->filesystem_dev = dev;
    return true;
}

static bool remember(ps_gen *g, const char *path, u32 mode, u32 flags) {
    u32 n = (u32)strlen(path);
    ps_buf *b = &g->delayed;
    if (buf_u32(b, mode) && buf_u32(b, flags) && buf_u32(b, n) && buf_put(b, path, n + 1)) return true;
    return !gen_fail_memory(g);
}

void gen_delete_in_dir(ps_gen *g, const char *dir_path_text, const ps_file *f, int depth, u32 dir, dev_t dev) {
    const ps_opts *o = &g->c->o;
    if (!g->root) return;
    if (g->c->io_error & PS_IOERR_GENERAL && !o->ignore_errors) {
        if (!g->delete_warned) ps_log(g->c, PS_LOG_INFO, "IO error encountered -- skipping file deletion\n");
        g->delete_warned = true;
        return;
    }
    gen_change_filter_dir(g, dir_path_text, depth);
    if (!on_known_device(g, f, dev)) return;
    if (g->have_fresh_dir && g->fresh_dir.len == strlen(dir_path_text) && memcmp(g->fresh_dir.data, dir_path_text, g->fresh_dir.len) == 0)
        return; /* it was just made */
    char path[PS_LIMIT_NAME + 1];
    size_t n = strlen(dir_path_text);
    if (n > PS_LIMIT_NAME) return;
    memcpy(path, dir_path_text, n + 1);
    found x;
    if (!load_kids(g, dir)) {
        gen_fail_memory(g);
        return;
    }
    read_dir(g, path, dir, true, &x);
    for (u32 i = x.list.count; i-- && !g->failed;) {
        const ps_file *e = &x.list.files[i];
        join(path, n, &x, e);
        if (e->flags & PS_F_MOUNT_DIR) {
            if (o->info_mount >= 1) ps_log(g->c, PS_LOG_INFO, "cannot delete mount point: %s\n", path);
        } else {
            u32 flags = DEL_RECURSE;
            if (!(e->mode & S_IWUSR) && o->am_root <= 0 && e->uid) flags |= DEL_NO_UID_WRITE;
            if (g->delete_mode == PS_DELETE_DELAY)
                remember(g, path, e->mode, flags);
            else
                delete_path(g, path, e->mode, flags);
        }
        path[n] = 0;
        if (n == 1 && *dir_path_text == '.') memcpy(path, ".", 2);
    }
    found_free(&x);
}

void gen_delete_delayed(ps_gen *g) {
    ps_buf *b = &g->delayed;
    while (buf_used(b) && !g->failed) {
        ps_reader r = rd_make(buf_head(b), buf_used(b));
        u32 mode = rd_u32(&r), flags = rd_u32(&r), n = rd_u32(&r);
        const u8 *path = rd_bytes(&r, n + 1u);
        if (!path) break;
        gen_delete_item(g, (const char *)path, mode, flags);
        buf_consume(b, 13u + n);
    }
}

bool gen_delete_pass(ps_gen *g) {
    const ps_opts *o = &g->c->o;
    ps_flist *l = g->state == GEN_DELETE_BEFORE ? g->cur : g->first;
    if (!l || o->dry_run > 1 || o->list_only) return true;
    ps_flist *cur = g->cur;
    g->cur = l;
    for (u32 dirs = 0; g->at < l->count && dirs < 64 && !g->failed; g->at++) {
        ps_file *f = &l->files[g->at];
        if (!file_active(f)) continue;
        if (!(f->flags & PS_F_CONTENT_DIR)) {
            /* Only directories have a say in which merge files count. */
            if (!S_ISDIR(f->mode)) continue;
            gen_item it;
            item_init(g, &it, l, f, -1);
            gen_change_filter_dir(g, item_path(g, &it), it.depth);
            continue;
        }
        gen_item it;
        item_init(g, &it, l, f, -1);
        const char *path = item_path(g, &it);
        struct stat st;
        if (it.dirfd < 0 || fstatat(it.dirfd, it.leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (S_ISLNK(st.st_mode) && o->keep_dirlinks) gen_stat_follow(g, path, &st);
        if (!S_ISDIR(st.st_mode)) continue;
        u32 dir = flists_dir(g->all, path, file_is_dot(l, f) ? 0 : strlen(path), 0);
        if (dir == UINT32_MAX)
            gen_fail_memory(g);
        else
            gen_delete_in_dir(g, path, f, it.depth, dir, st.st_dev);
        dirs++;
    }
    g->cur = cur;
    if (g->at < l->count && !g->failed) return false;
    gen_delete_leave(g);
    return true;
}
