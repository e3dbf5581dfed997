/* One entry of the list: what is there, what is to be (recv_generator); directories. */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the entry in hand --------------------------------------------------------------------------- */

void item_init(ps_gen *g, gen_item *it, ps_flist *l, ps_file *f, i32 ndx) {
    it->l = l;
    it->f = f;
    it->ndx = ndx;
    it->type = gen_file_type(f->mode);
    it->itemizing = g->itemizing;
    it->unsent = false;
    it->code = g->code;
    it->has_path = false;
    it->depth = file_depth(g->all, l, f);
    it->leaf = g->solo ? g->solo : file_name(l, f);
    item_refresh(g, it);
}

void item_refresh(ps_gen *g, gen_item *it) {
    const ps_file *f = it->f;
    it->dirfd = -1;
    if (!g->root) return;
    if (g->solo)
        it->dirfd = root_parent(g->root, g->solo, &it->leaf);
    else
        it->dirfd = root_dir(g->root, dir_path(g->all, f->dir), g->all->dirs[f->dir].path_len);
}

const char *item_path(ps_gen *g, gen_item *it) {
    if (it->has_path) return it->path;
    it->has_path = true;
    if (g->solo)
        snprintf(it->path, sizeof it->path, "%s", g->solo);
    else
        file_path(g->all, it->l, it->f, it->path);
    return it->path;
}

ps_flist *gen_dir_list(ps_gen *g) {
    g->dir_list.names = g->all->dir_arena;
    g->dir_list.extras = NULL;
    return &g->dir_list;
}

int gen_lstat(ps_gen *g, const char *path, struct stat *st) {
    const char *base;
    int dir = -1;
    if (g->root)
        dir = root_parent(g->root, path, &base);
    else
        errno = ENOENT;
    return dir < 0 ? -1 : fstatat(dir, *base ? base : ".", st, AT_SYMLINK_NOFOLLOW);
}

int gen_stat_follow(ps_gen *g, const char *path, struct stat *st) {
    size_t n = strlen(path);
    int dir = -1;
    if (g->root)
        dir = root_dir(g->root, path, n);
    else
        errno = ENOENT;
    return dir < 0 ? -1 : fstat(dir, st);
}

int gen_link(ps_gen *g, const char *from, const char *to, bool outside) {
    if (g->c->o.dry_run) return 0;
    const char *base, *from_base;
    int to_dir = root_parent(g->root, to, &base);
    if (to_dir < 0) return -1;
    if (outside) {
        int alt = option_parent(g->c, g->root, from, &from_base);
        if (alt < 0) return -1;
        int status = linkat(alt, from_base, to_dir, base, 0), err = errno;
        close(alt);
        errno = err;
        return status;
    }
    int from_dir = root_parent(g->root, from, &from_base);
    if (from_dir < 0) return -1;
    return linkat(from_dir, from_base, to_dir, base, 0); /* the cache of directories holds more than these two */
}

static int stat_entry(ps_gen *g, gen_item *it, struct stat *st, bool follow) {
    if (it->dirfd < 0) {
        /* A name beneath the root could not be opened: look for the reason, as a stat of the whole path would give it. */
        if (!g->root) {
            errno = ENOENT;
            return -1;
        }
        int dir = root_dir(g->root, dir_path(g->all, it->f->dir), g->all->dirs[it->f->dir].path_len);
        if (dir < 0) return -1;
        it->dirfd = dir;
    }
    if (fstatat(it->dirfd, it->leaf, st, AT_SYMLINK_NOFOLLOW) < 0) return -1;
    if (follow && S_ISLNK(st->st_mode)) {
        struct stat to;
        if (gen_stat_follow(g, item_path(g, it), &to) == 0 && S_ISDIR(to.st_mode)) *st = to;
    }
    return 0;
}

static bool same_path(const ps_buf *b, const char *path, size_t n) { return b->len == n && memcmp(b->data, path, n) == 0; }

static void keep_path(ps_gen *g, ps_buf *b, bool *have, const char *path) {
    buf_clear(b);
    *have = buf_put(b, path, strlen(path));
    if (!*have) gen_fail_memory(g);
}

/* A flag of a directory, on its entry and on the copy that stays when the entry's list is gone. */
static void set_dir_flag(ps_gen *g, gen_item *it, u16 flag) {
    it->f->flags |= flag;
    if (!g->c->o.inc_recurse || it->l == &g->dir_list) return;
    ps_flists *all = g->all;
    for (u32 n = all->dir_entry_count; n; n--) {
        if (g->dir_cursor >= all->dir_entry_count) g->dir_cursor = 0;
        ps_dir_entry *d = &all->dir_entries[g->dir_cursor];
        if (d->list_ndx == it->ndx) {
            d->file.flags |= flag;
            return;
        }
        g->dir_cursor++;
    }
}

/* make_path: the missing directories above `path`. -1 with errno set. */
static int make_parents(ps_gen *g, const char *path) {
    char name[PS_LIMIT_NAME + 1];
    size_t n = strlen(path);
    if (n > PS_LIMIT_NAME || !g->root) return 0;
    memcpy(name, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (name[i] != '/') continue;
        name[i] = 0;
        const char *base;
        int dir = root_parent(g->root, name, &base);
        if (dir < 0) return -1;
        if (!g->c->o.dry_run && mkdirat(dir, base, 0777) < 0 && errno != EEXIST) return -1;
        name[i] = '/';
    }
    return 0;
}

/* ---- another directory begins ---------------------------------------------------------------------- */

/* Every parent must be in the list: a sender that leaves it out could make us write where nothing was asked for. */
static bool parent_listed(ps_gen *g, gen_item *it, const char *dir, size_t n) {
    if (g->c->o.inc_recurse || !n) return true;
    if (g->have_prior_dir && same_path(&g->prior_dir, dir, n)) return true;
    const char *slash = memrchr(dir, '/', n);
    size_t above = slash ? (size_t)(slash - dir) : 0;
    u32 parent = flists_dir(g->all, dir, above, 0);
    dir = dir_path(g->all, it->f->dir); /* the arena may have moved */
    const char *base = slash ? dir + above + 1 : dir;
    i32 at = parent == UINT32_MAX ? -1 : flist_find(g->all, it->l, parent, base, n - (size_t)(base - dir), 1);
    if (at >= 0) return true;
    ps_log(g->c, PS_LOG_ERROR, "ABORTING due to invalid path from sender: %s/%s\n", dir, file_name(it->l, it->f));
    ps_fail(g->c, 2, 0, "invalid path from sender: %s/%s", dir, file_name(it->l, it->f));
    g->failed = true;
    return false;
}

/* false: the parent is missing in a dry run, or the run is over. */
static bool enter_directory(ps_gen *g, gen_item *it, bool *dry_missing) {
    u32 dir = it->f->dir;
    if (g->last_dir == dir || g->solo) return true;
    const char *path = dir_path(g->all, dir);
    size_t n = g->all->dirs[dir].path_len;
    if (!parent_listed(g, it, path, n)) return false;
    path = dir_path(g->all, dir);
    const ps_opts *o = &g->c->o;
    struct stat st;
    if (o->relative && !o->implied_dirs && gen_stat_follow(g, path, &st) < 0) {
        if (o->dry_run) {
            *dry_missing = true;
            return false;
        }
        if (make_parents(g, item_path(g, it)) < 0) {
            char full[PS_FULL_FNAME];
            gen_errno(g, errno, "recv_generator: mkdir %s failed", full_fname(g->c, path, full));
        }
        item_init(g, it, it->l, it->f, it->ndx);
    }
    g->last_dir = dir;
    if (!o->perms && it->dirfd >= 0) g->default_perms = attrs_dir_perms(g->c, it->dirfd);
    g->in_fresh_dir = g->have_fresh_dir && same_path(&g->fresh_dir, path, n);
    return true;
}

/* ---- directories ------------------------------------------------------------------------------------- */

static void skip_contents(ps_gen *g, gen_item *it) {
    ps_log(g->c, PS_LOG_ERROR, "*** Skipping any contents from this failed directory ***\n");
    g->skip_depth = it->depth;
    g->skip_top = it->f;
    set_dir_flag(g, it, PS_F_MISSING_DIR);
}

static int make_dir(ps_gen *g, gen_item *it, u32 mode) {
    if (g->c->o.dry_run) return 0;
    if (it->dirfd < 0 && g->root) it->dirfd = root_dir(g->root, dir_path(g->all, it->f->dir), g->all->dirs[it->f->dir].path_len);
    if (it->dirfd < 0) return -1;
    return mkdirat(it->dirfd, it->leaf, mode & GEN_MODE_BITS);
}

/* In the list of its parent a directory is only made, so that the parent's time can be set with that list; what else it
 * needs is done right before its contents. */
static void dir_before_own_list(ps_gen *g, gen_item *it, int statret, const struct stat *st, u32 del_flags) {
    if (!g->c->o.times || g->c->o.omit_dir_times) return;
    if (statret == 0 && (S_ISDIR(st->st_mode) || gen_delete_item(g, item_path(g, it), st->st_mode, del_flags | DEL_FOR_DIR) != DR_SUCCESS))
        return;
    if (statret == 0) item_refresh(g, it);
    if (make_dir(g, it, it->f->mode & 0700) == 0) set_dir_flag(g, it, PS_F_DIR_CREATED);
}

/* false: it could not be made. */
static bool create_dir(ps_gen *g, gen_item *it) {
    if (make_dir(g, it, it->f->mode) == 0) {
        keep_path(g, &g->fresh_dir, &g->have_fresh_dir, item_path(g, it));
        return true;
    }
    if (errno == EEXIST) return true;
    if (g->c->o.relative && errno == ENOENT && make_parents(g, item_path(g, it)) == 0) {
        it->dirfd = -1;
        if (make_dir(g, it, it->f->mode) == 0 || errno == EEXIST) return true;
    }
    char full[PS_FULL_FNAME];
    gen_errno(g, errno, "recv_generator: mkdir %s failed", full_fname(g->c, item_path(g, it), full));
    skip_contents(g, it);
    return false;
}

/* While files are put into it, its owner can read and write it. */
static void open_up_dir(ps_gen *g, gen_item *it) {
    if (g->c->o.am_root > 0 || (it->f->mode & S_IRWXU) == S_IRWXU || !g->dir_tweaking) return;
    if (attrs_chmod(it->dirfd, it->leaf, (it->f->mode | S_IRWXU) & GEN_MODE_BITS) < 0) {
        char full[PS_FULL_FNAME];
        gen_errno(g, errno, "failed to modify permissions on %s", full_fname(g->c, item_path(g, it), full));
    }
    g->retouch_perms = true;
}

static void run_dir(ps_gen *g, gen_item *it, int statret, struct stat *st, u32 del_flags) {
    const ps_opts *o = &g->c->o;
    ps_file *f = it->f;
    const char *path = item_path(g, it);
    char alt[PS_LIMIT_NAME + 1];
    if (statret == 0 && !S_ISDIR(st->st_mode)) {
        if (gen_delete_item(g, path, st->st_mode, del_flags | DEL_FOR_DIR) != DR_SUCCESS) {
            skip_contents(g, it);
            return;
        }
        item_refresh(g, it);
        statret = -1;
    }
    if (o->dry_run && statret != 0) {
        if (g->dry_depth < 0) {
            g->dry_depth = it->depth;
            g->dry_top = it->f;
        }
        set_dir_flag(g, it, PS_F_MISSING_DIR);
    }
    int real_ret = statret;
    struct stat real = *st;
    if (f->flags & PS_F_DIR_CREATED) statret = -1;
    if (!o->perms) f->mode = attrs_dest_mode(g->c, f->mode, st->st_mode, g->default_perms, statret == 0);
    if (statret != 0 && g->c->alt_count) {
        int j = gen_try_non(g, it, alt, st);
        if (j == GEN_ALT_DONE) {
            it->itemizing = false;
            it->code = GEN_NO_CODE;
            statret = 1;
        } else if (j >= 0) {
            statret = 1;
        }
    }
    if (it->itemizing) gen_itemize(g, it, it->ndx, statret, st, statret ? PS_ITEM_LOCAL_CHANGE : 0, 0, NULL);
    if (real_ret != 0 && !create_dir(g, it)) return;
    if (f->flags & PS_F_DIR_CREATED) keep_path(g, &g->fresh_dir, &g->have_fresh_dir, path); /* by dir_before_own_list: nothing is in it yet */
    if (real_ret != 0 && g->root && it->dirfd < 0) item_init(g, it, it->l, it->f, it->ndx);
    if (attrs_set(g->c, it->dirfd, it->leaf, path, file_attrs(f), real_ret ? NULL : &real, 0) && o->info_name >= 1 && it->code != GEN_NO_CODE)
        ps_log(g->c, it->code, "%s/\n", path);
    open_up_dir(g, it);
    g->dir_dev = real_ret != 0 ? g->filesystem_dev : real.st_dev;
    keep_path(g, &g->prior_dir, &g->have_prior_dir, path);
    bool during = g->delete_mode == PS_DELETE_DURING || g->delete_mode == PS_DELETE_DELAY;
    if (o->inc_recurse || !during || g->phase || f->flags & PS_F_MISSING_DIR) return;
    if (f->flags & PS_F_CONTENT_DIR) {
        u32 dir = flists_dir(g->all, path, file_is_dot(it->l, f) ? 0 : strlen(path), 0);
        if (dir == UINT32_MAX)
            gen_fail_memory(g);
        else
            gen_delete_in_dir(g, path, f, it->depth, dir, g->dir_dev);
    } else {
        gen_change_filter_dir(g, path, it->depth);
    }
}

bool gen_touch_up(ps_gen *g, ps_flist *l, ps_file *f) {
    const ps_opts *o = &g->c->o;
    if (!file_active(f) || !S_ISDIR(f->mode) || (!o->implied_dirs && f->flags & PS_F_IMPLIED_DIR)) return false;
    bool perms = o->am_root <= 0 && !(f->mode & S_IWUSR);
    if (f->flags & PS_F_MISSING_DIR || !(g->retouch_times || perms)) return false;
    gen_item it;
    item_init(g, &it, l, f, -1);
    if (it.dirfd < 0) return false;
    if (perms) attrs_chmod(it.dirfd, it.leaf, f->mode & GEN_MODE_BITS);
    struct stat st;
    if (!g->retouch_times || fstatat(it.dirfd, it.leaf, &st, AT_SYMLINK_NOFOLLOW) < 0 || !gen_mtime_differs(g, f, &st)) return true;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = f->mtime, .tv_nsec = (long)f->mtime_ns}};
    if (utimensat(it.dirfd, it.leaf, times, AT_SYMLINK_NOFOLLOW) < 0) {
        char full[PS_FULL_FNAME];
        gen_errno(g, errno, "failed to set times on %s", full_fname(g->c, item_path(g, &it), full));
    }
    return true;
}

/* ---- any entry ----------------------------------------------------------------------------------------- */

/* The last name of a group leads nobody: the nearest one before it that waits for a leader is its last now. Names in between
 * are what --compare-dest has; rsync takes such a name for a waiting one and never makes those that do wait. */
void gen_skipped_link(ps_gen *g, ps_flist *of, ps_file *f) {
    f->flags |= PS_F_SKIP_HLINK;
    if (!(f->flags & PS_F_HLINK_LAST)) return;
    ps_flist *l = of;
    ps_file *prev = f;
    do {
        prev = gen_prior_link(g, l, prev, &l, NULL);
        if (!prev || prev->flags & (PS_F_HLINK_DONE | PS_F_FILE_SENT)) return;
    } while (!(prev->flags & PS_F_HLINK_WAITS));
    prev->flags = (u16)((prev->flags & ~PS_F_HLINK_WAITS) | PS_F_HLINK_LAST);
    l->in_progress--;
    ps_flist *cur = g->cur;
    g->cur = l;
    gen_entry(g, l, prev, l->ndx_start + (i32)(prev - l->files), false);
    g->cur = cur;
}

static void skip_link(ps_gen *g, gen_item *it) {
    if (item_hlinked(it)) gen_skipped_link(g, it->l, it->f);
}

/* What is at the destination is kept whatever it is (--ignore-existing). */
static void keep_existing(ps_gen *g, gen_item *it, struct stat *st, bool say) {
    if (g->c->o.info_skip >= 1 && say) {
        const char *why = "";
        if (g->c->o.info_skip >= 2) {
            if (it->type != gen_file_type(st->st_mode))
                why = " (type change)";
            else if (!gen_same_data(g, it, it->dirfd, it->leaf, st))
                why = g->c->o.checksum ? " (sum change)" : " (file change)";
            else
                why = gen_same_attrs(g, it->f, st) ? " (uptodate)" : " (attr change)";
        }
        ps_log(g->c, PS_LOG_INFO, "%s exists%s\n", item_path(g, it), why);
    }
    skip_link(g, it);
}

static bool refused_by_daemon(ps_gen *g, gen_item *it, bool is_dir, bool own_list) {
    const char *path = item_path(g, it);
    if (path[0] == '.' && !path[1]) return false;
    if (rules_check_daemon(g->rules, path, strlen(path), is_dir) >= 0) return false;
    if (is_dir && g->c->o.inc_recurse && !own_list) return true;
    skip_link(g, it);
    ps_log(g->c, PS_LOG_ERROR_XFER, "ERROR: daemon refused to receive %s \"%s\"\n", is_dir ? "directory" : "file", path);
    if (is_dir) skip_contents(g, it);
    return true;
}

/* --existing: nothing new is made. */
static void leave_out_new(ps_gen *g, gen_item *it, bool before_own_list) {
    bool is_dir = it->type == FT_DIR;
    if (before_own_list) return;
    if (is_dir) {
        g->skip_depth = it->depth;
        g->skip_top = it->f;
        set_dir_flag(g, it, PS_F_MISSING_DIR);
    } else {
        skip_link(g, it);
    }
    if (g->c->o.info_skip >= 1)
        ps_log(g->c, PS_LOG_INFO, "not creating new %s \"%s\"\n", is_dir ? "directory" : "file", item_path(g, it));
}

static void run_node(ps_gen *g, gen_item *it, int statret, int stat_errno, struct stat *st, u32 del_flags) {
    const ps_opts *o = &g->c->o;
    gen_type have = statret == 0 ? gen_file_type(st->st_mode) : FT_OTHER;
    u32 wire_mode = it->f->mode;
    if (!o->perms) it->f->mode = attrs_dest_mode(g->c, it->f->mode, st->st_mode, g->default_perms, statret == 0 && have != FT_DIR);
    if (o->hard_links && !g->routing && hlink_not_first(it->f) && gen_link_check(g, it, statret, st)) return;
    if (o->links && it->type == FT_SYMLINK)
        gen_symlink(g, it, statret, st);
    else if (!o->drop_devices &&
             ((o->am_root > 0 && o->devices && it->type == FT_DEVICE) || (o->specials && it->type == FT_SPECIAL)))
        gen_device(g, it, statret, st);
    else if (it->type == FT_REG)
        gen_regular(g, it, statret, stat_errno, st, have, del_flags, wire_mode);
    else if (o->info_nonreg >= 1)
        ps_log(g->c, PS_LOG_INFO, "skipping non-regular file \"%s\"\n", g->solo ? file_name(it->l, it->f) : item_path(g, it));
}

/* generator.c:is_below. Directories on the way may not be in an old sender's list: then depth alone says nothing. */
static bool is_below(ps_gen *g, gen_item *it, i32 depth, const ps_file *top) {
    const ps_opts *o = &g->c->o;
    if (it->depth <= depth) return false;
    if (o->protocol >= 30 || !o->relative || o->implied_dirs) return true;
    char above[PS_LIMIT_NAME + 1];
    size_t n = file_path(g->all, it->l, top, above);
    const char *path = item_path(g, it);
    return strncmp(path, above, n) == 0 && path[n] == '/';
}

void gen_entry(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx, bool own_list) {
    const ps_opts *o = &g->c->o;
    gen_item it;
    item_init(g, &it, l, f, ndx);
    bool is_dir = it.type == FT_DIR, before_own_list = is_dir && o->inc_recurse && !own_list;
    if (g->skip_depth >= 0) {
        if (is_below(g, &it, g->skip_depth, g->skip_top)) {
            if (is_dir)
                set_dir_flag(g, &it, PS_F_MISSING_DIR);
            else
                skip_link(g, &it);
            return;
        }
        g->skip_depth = -1;
    }
    if (g->rules && rules_any_daemon(g->rules) && refused_by_daemon(g, &it, is_dir, own_list)) return;

    struct stat st = {0};
    int statret = -1, stat_errno = ENOENT;
    bool dry_missing = o->dry_run > 1 || (g->dry_depth >= 0 && is_below(g, &it, g->dry_depth, g->dry_top));
    if (!dry_missing) {
        g->dry_depth = -1;
        if (!enter_directory(g, &it, &dry_missing) && !dry_missing) return;
    }
    if (dry_missing) {
        g->last_dir = UINT32_MAX;
    } else if (!g->in_fresh_dir || g->redoing || is_dir) {
        statret = stat_entry(g, &it, &st, o->keep_dirlinks && is_dir);
        stat_errno = errno;
    }

    if (o->existing && !g->redoing && statret < 0 && stat_errno == ENOENT) {
        leave_out_new(g, &it, before_own_list);
        return;
    }
    u32 del_flags = g->delete_mode || o->force_delete ? DEL_RECURSE : 0;
    if (statret == 0 && !(st.st_mode & S_IWUSR) && o->am_root <= 0 && st.st_uid == g->our_uid) del_flags |= DEL_NO_UID_WRITE;
    if (o->ignore_existing && !g->redoing && statret == 0 && !(is_dir && S_ISDIR(st.st_mode))) {
        keep_existing(g, &it, &st, !before_own_list);
        return;
    }
    if (!is_dir)
        run_node(g, &it, statret, stat_errno, &st, del_flags);
    else if (!o->implied_dirs && f->flags & PS_F_IMPLIED_DIR)
        return;
    else if (before_own_list)
        dir_before_own_list(g, &it, statret, &st, del_flags);
    else
        run_dir(g, &it, statret, &st, del_flags);
}
