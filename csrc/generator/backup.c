/* --backup: what is replaced or deleted is kept under its backup name, as a link, renamed or copied (backup.c). */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where a backup goes: beneath the destination, or beneath --backup-dir. */
typedef struct place {
    ps_root *root;
    char path[PS_LIMIT_NAME + 1];
    char shown[2 * PS_LIMIT_NAME + 2];
} place;

bool gen_backs_up(const ps_gen *g) { return g->c->o.backup && !g->redoing; }

bool gen_is_backup(const ps_gen *g, const char *path) {
    const char *suffix = ps_str(g->c, PS_STR_BACKUP_SUFFIX);
    size_t n = strlen(path), tail = suffix ? strlen(suffix) : 0;
    return n > tail && strcmp(path + n - tail, suffix ? suffix : "") == 0;
}

static void as_file(const struct stat *st, ps_file *f) {
    memset(f, 0, sizeof *f);
    f->mode = st->st_mode;
    f->uid = st->st_uid;
    f->gid = st->st_gid;
    f->mtime = st->st_mtim.tv_sec;
    f->mtime_ns = (u32)st->st_mtim.tv_nsec;
    f->size = st->st_size;
}

/* ---- --backup-dir ----------------------------------------------------------------------------------- */

static bool open_backup_dir(ps_gen *g, const char *dir) {
    int fd = option_open(g->c, g->root, dir, O_RDONLY | O_DIRECTORY, true);
    if (fd < 0) return false;
    g->backup_root = root_from_fd(g->c, fd);
    return g->backup_root != NULL;
}

/* What is in the way of a backup goes, whole directories too. `path` is beneath p's root. */
static bool clear_way(ps_gen *g, const place *p, const char *path, u32 mode) {
    static const u32 kinds[] = {[FT_REG] = DEL_FOR_FILE,       [FT_SYMLINK] = DEL_FOR_SYMLINK, [FT_DIR] = DEL_FOR_DIR,
                                [FT_DEVICE] = DEL_FOR_DEVICE,  [FT_SPECIAL] = DEL_FOR_SPECIAL, [FT_OTHER] = DEL_FOR_FILE};
    ps_root *own = g->root;
    const char *aside = g->delete_aside;
    if (p->root != own) g->delete_aside = ps_str(g->c, PS_STR_BACKUP_DIR);
    g->root = p->root;
    del_result result = gen_delete_item(g, path, mode, kinds[gen_file_type(mode)] | DEL_FOR_BACKUP | DEL_RECURSE);
    g->root = own;
    g->delete_aside = aside;
    return result == DR_SUCCESS;
}

/* A directory within --backup-dir looks like the one that its files come from. */
static void copy_dir_attributes(ps_gen *g, const place *p, int above, const char *leaf, const char *path) {
    struct stat st;
    char full[PS_FULL_FNAME];
    if (gen_stat_follow(g, path, &st) < 0) {
        ps_log_errno(g->c, PS_LOG_ERROR, errno, "rsync: [generator] backup stat %s failed", full_fname(g->c, path, full));
        return;
    }
    ps_file f;
    as_file(&st, &f);
    attrs_set(g->c, above, leaf, p->shown, file_attrs(&f), NULL, 0);
}

/* copy_valid_path: every directory of the backup's path is made sure of; false: it was logged. */
static bool make_dirs(ps_gen *g, place *p) {
    char path[PS_LIMIT_NAME + 1];
    size_t n = strlen(p->path);
    memcpy(path, p->path, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (path[i] != '/') continue;
        path[i] = 0;
        const char *leaf;
        struct stat st;
        int above = root_parent(p->root, path, &leaf);
        int found = above < 0 ? -1 : fstatat(above, leaf, &st, AT_SYMLINK_NOFOLLOW);
        if (found == 0 && !S_ISDIR(st.st_mode)) {
            if (!clear_way(g, p, path, st.st_mode)) return false;
            found = -1;
            above = root_parent(p->root, path, &leaf);
        }
        if (found < 0) {
            if (above < 0 || mkdirat(above, leaf, 0777) < 0) {
                ps_log_errno(g->c, PS_LOG_ERROR, errno, "rsync: [generator] backup mkdir %s/%s failed",
                             ps_str(g->c, PS_STR_BACKUP_DIR), path);
                return false;
            }
            root_forget(p->root, path, strlen(path)); /* --backup-dir beneath the destination: it may have been deleted there */
            copy_dir_attributes(g, p, above, leaf, path);
        }
        path[i] = '/';
    }
    return true;
}

/* get_backup_name. false: it cannot be had; logged where rsync says something. */
static bool backup_place(ps_gen *g, const char *path, place *p) {
    const char *dir = ps_str(g->c, PS_STR_BACKUP_DIR), *suffix = ps_str(g->c, PS_STR_BACKUP_SUFFIX);
    size_t n = strlen(path), tail = suffix ? strlen(suffix) : 0, above = dir ? strlen(dir) + 1 : 0;
    p->root = g->root;
    if (above + n + tail > PS_LIMIT_NAME) {
        ps_log(g->c, PS_LOG_ERROR, "backup filename too long\n");
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(p->path, path, n);
    memcpy(p->path + n, suffix ? suffix : "", tail + 1);
    snprintf(p->shown, sizeof p->shown, "%s%s%s", dir ? dir : "", dir ? "/" : "", p->path);
    if (!dir || g->c->o.dry_run) return true;
    if (!g->backup_root && !open_backup_dir(g, dir)) return false;
    p->root = g->backup_root;
    return make_dirs(g, p);
}

int gen_open_backup_basis(ps_gen *g, const char *path) {
    place p;
    if (!backup_place(g, path, &p)) return -1;
    return root_openat(p.root, p.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
}

/* ---- one backup -------------------------------------------------------------------------------------- */

static int parents(ps_gen *g, const char *path, const place *p, int *from, const char **leaf, int *to, const char **to_leaf) {
    *from = root_parent(g->root, path, leaf);
    *to = *from < 0 ? -1 : root_parent(p->root, p->path, to_leaf);
    return *to < 0 ? -1 : 0;
}

/* link_or_rename: 0 neither worked (errno), else as gen_make_backup. */
static int link_or_rename(ps_gen *g, const char *path, const place *p, bool prefer_rename, const struct stat *st) {
    int from, to;
    const char *leaf, *to_leaf;
    if (g->c->o.dry_run) return prefer_rename ? GEN_BACKUP_MOVED : GEN_BACKUP_COPIED;
    if (parents(g, path, p, &from, &leaf, &to, &to_leaf) < 0) return GEN_BACKUP_FAILED;
    if (!prefer_rename) {
        if (linkat(from, leaf, to, to_leaf, 0) == 0) return GEN_BACKUP_COPIED;
        if (!S_ISREG(st->st_mode) || errno == EEXIST || errno == EISDIR) return GEN_BACKUP_FAILED;
    }
    if (renameat(from, leaf, to, to_leaf) < 0) return GEN_BACKUP_FAILED;
    /* A rename between two links of one file does nothing. */
    if (st->st_nlink > 1 && !S_ISDIR(st->st_mode)) unlinkat(from, leaf, 0);
    return GEN_BACKUP_MOVED;
}

static int copy_regular(ps_gen *g, const char *path, int to, const char *to_leaf, const place *p, u32 mode) {
    char full[PS_FULL_FNAME];
    int in = root_openat(g->root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0), out = -1;
    if (in >= 0 && unlinkat(to, to_leaf, 0) < 0 && errno != ENOENT) {
        gen_errno(g, errno, "unlink %s", full_fname(g->c, p->shown, full));
        close(in);
        return PS_FAIL;
    }
    if (in >= 0)
        out = openat(to, to_leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0700);
    bool ok = out >= 0 && gen_copy_data(g, in, out, path, p->shown);
    int err = errno;
    if (out >= 0 && close(out) < 0) ok = false;
    if (in >= 0) close(in);
    if (ok) return PS_OK;
    ps_log_errno(g->c, PS_LOG_ERROR_XFER, err, "rsync: [generator] keep_backup failed: %s -> \"%s\"", full_fname(g->c, path, full), p->shown);
    errno = err;
    return PS_FAIL;
}

/* The backup is on another file system, or what is to be kept can neither be linked nor renamed. */
static int copy_entry(ps_gen *g, const char *path, const place *p, const struct stat *st) {
    const ps_opts *o = &g->c->o;
    gen_type type = gen_file_type(st->st_mode);
    char full[PS_FULL_FNAME];
    int from, to;
    const char *leaf, *to_leaf;
    if (parents(g, path, p, &from, &leaf, &to, &to_leaf) < 0) return GEN_BACKUP_FAILED;
    if ((o->am_root > 0 && o->devices && type == FT_DEVICE) || (o->specials && type == FT_SPECIAL)) {
        if (mknodat(to, to_leaf, st->st_mode, st->st_rdev) < 0)
            ps_log_errno(g->c, PS_LOG_ERROR, errno, "rsync: [generator] mknod %s failed", full_fname(g->c, p->shown, full));
    } else if (o->links && type == FT_SYMLINK) {
        char target[PS_LIMIT_NAME + 1];
        ssize_t n = readlinkat(from, leaf, target, PS_LIMIT_NAME);
        if (n < 0) return GEN_BACKUP_NOTHING;
        target[n] = 0;
        if (symlinkat(target, to, to_leaf) < 0)
            ps_log_errno(g->c, PS_LOG_ERROR, errno, "rsync: [generator] link %s -> \"%s\"", full_fname(g->c, p->shown, full), target);
    } else if (type != FT_REG) {
        if (o->info_nonreg >= 1) ps_log(g->c, PS_LOG_INFO, "make_bak: skipping non-regular file %s\n", path);
        return GEN_BACKUP_NOTHING;
    } else if (copy_regular(g, path, to, to_leaf, p, st->st_mode) != PS_OK) {
        return GEN_BACKUP_FAILED;
    }
    ps_file f;
    as_file(st, &f);
    attrs_set(g->c, to, to_leaf, p->shown, file_attrs(&f), NULL, PS_ATTRS_ACCURATE_TIME);
    return GEN_BACKUP_COPIED;
}

/* --safe-links: a symlink that leads out of the tree is not kept either. */
static bool unsafe_link(ps_gen *g, const char *path, const struct stat *st) {
    const ps_opts *o = &g->c->o;
    if (!o->links || !S_ISLNK(st->st_mode) || !o->safe_links) return false;
    const char *leaf;
    char target[PS_LIMIT_NAME + 1];
    int dir = root_parent(g->root, path, &leaf);
    ssize_t n = dir < 0 ? -1 : readlinkat(dir, leaf, target, PS_LIMIT_NAME);
    if (n <= 0) {
        if (o->info_symsafe >= 1) ps_log(g->c, PS_LOG_INFO, "not backing up symlink with unreadable target \"%s\"\n", path);
        return true;
    }
    target[n] = 0;
    if (!gen_leads_outside(target, path)) return false;
    if (o->info_symsafe >= 1) ps_log(g->c, PS_LOG_INFO, "not backing up unsafe symlink \"%s\" -> \"%s\"\n", path, target);
    return true;
}

static int keep(ps_gen *g, const char *path, const place *p, bool prefer_rename, const struct stat *st) {
    int how = link_or_rename(g, path, p, prefer_rename, st);
    if (how) return how;
    if (errno == EEXIST || errno == EISDIR) {
        const char *leaf;
        struct stat old;
        int dir = root_parent(p->root, p->path, &leaf);
        if (dir >= 0 && fstatat(dir, leaf, &old, AT_SYMLINK_NOFOLLOW) == 0 && !clear_way(g, p, p->path, old.st_mode))
            return GEN_BACKUP_FAILED;
        how = link_or_rename(g, path, p, prefer_rename, st);
        if (how) return how;
    }
    return copy_entry(g, path, p, st);
}

static int said(ps_gen *g, const char *path, const place *p, int how) {
    bool kept = how == GEN_BACKUP_MOVED || how == GEN_BACKUP_COPIED;
    if (kept && g->c->o.info_backup >= 1) ps_log(g->c, PS_LOG_INFO, "backed up %s to %s\n", path, p->shown);
    return how;
}

int gen_copy_backup(ps_gen *g, const char *path) {
    struct stat st;
    place p;
    if (!backup_place(g, path, &p)) return GEN_BACKUP_FAILED;
    if (gen_lstat(g, path, &st) < 0) return GEN_BACKUP_NOTHING;
    return said(g, path, &p, copy_entry(g, path, &p, &st));
}

int gen_make_backup(ps_gen *g, const char *path, bool prefer_rename) {
    struct stat st;
    place p;
    if (gen_lstat(g, path, &st) < 0) return GEN_BACKUP_NOTHING;
    if (!backup_place(g, path, &p)) return GEN_BACKUP_FAILED;
    int how = unsafe_link(g, path, &st) ? GEN_BACKUP_COPIED : keep(g, path, &p, prefer_rename, &st);
    return said(g, path, &p, how);
}

bool gen_back_up_output(void *generator, const char *path) { return gen_make_backup(generator, path, false); }
