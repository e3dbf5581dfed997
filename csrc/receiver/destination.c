/* Where a pull writes: the destination argument against the first file list (main.c:get_local_name). */
#include "receiver/receiving_inner.h"

#include "core/names.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_ROOM (2 * PS_LIMIT_NAME)

/* util1.c:clean_fname: no double slashes, ".", and no ".." below a name. */
static void clean_path(char *path) {
    char *out = path + 1;
    bool last = false;
    for (const char *at = path + 1; !last;) {
        size_t n = strcspn(at, "/");
        last = !at[n]; /* what comes next may overwrite it */
        if (n == 2 && memcmp(at, "..", 2) == 0) {
            if (out > path + 1) out--;
            while (out > path + 1 && out[-1] != '/') out--;
        } else if (n && !(n == 1 && *at == '.')) {
            memmove(out, at, n);
            out += n;
            *out++ = '/';
        }
        at += n + 1;
    }
    if (out > path + 1) out--;
    *out = 0;
}

/* The absolute path of `dir`, as messages show it. */
static int absolute(ps_ctx *c, const char *dir, char path[PATH_ROOM]) {
    int n;
    if (*dir == '/') {
        n = snprintf(path, PATH_ROOM, "%s", dir);
    } else {
        char cwd[PS_LIMIT_NAME + 1];
        if (!getcwd(cwd, sizeof cwd)) return ps_fail(c, 3, errno, "getcwd(): %s (%d)", strerror(errno), errno);
        n = snprintf(path, PATH_ROOM, "%s/%s", cwd, dir);
    }
    if (n < 0 || (size_t)n >= PATH_ROOM) return ps_fail(c, 3, ENAMETOOLONG, "the destination's path is too long");
    clean_path(path);
    return PS_OK;
}

/* ---- the destination's place: a path of the user, or beneath the module ------------------------ */

static int note_directory(ps_ctx *c, const char *dir) {
    char path[PATH_ROOM];
    if (c->module) {
        char place[PS_LIMIT_NAME + 3] = "/";
        if (!option_place(c, dir, place + 1)) return ps_fail(c, 3, ENAMETOOLONG, "the destination's path is too long");
        return strcmp(place, "/.") == 0 ? PS_OK : ps_ctx_set_string(c, PS_STR_CURR_DIR, place, strlen(place));
    }
    if (absolute(c, dir, path) != PS_OK) return PS_FAIL;
    return ps_ctx_set_string(c, PS_STR_CURR_DIR, path, strlen(path));
}

static int dest_failed(ps_ctx *c, int exit_code, int err, const char *what, const char *dir, const char *how) {
    char path[PATH_ROOM], full[PS_FULL_FNAME];
    if (c->module)
        return ps_fail(c, exit_code, err, "rsync: [Receiver] %s %s%s: %s (%d)", what, full_fname(c, dir, full), how, strerror(err), err);
    if (absolute(c, dir, path) != PS_OK) return PS_FAIL;
    const char *more = err == ELOOP ? ", or one of them belongs to another user" : "";
    return ps_fail(c, exit_code, err, "rsync: [Receiver] %s \"%s\"%s: %s (%d)%s", what, path, how, strerror(err), err, more);
}

static int enter(ps_ctx *c, const char *dir, int which, ps_root **root) {
    int fd = option_open(c, NULL, dir, O_RDONLY | O_DIRECTORY, false);
    if (fd < 0 && errno == EACCES) fd = option_open(c, NULL, dir, O_PATH | O_DIRECTORY, false);
    if (fd < 0) {
        int err = errno;
        char what[] = "change_dir#0";
        what[sizeof what - 2] = (char)('0' + which);
        return dest_failed(c, 3, err, what, dir, " failed");
    }
    *root = root_from_fd(c, fd);
    return *root ? note_directory(c, dir) : PS_FAIL;
}

static int make_dir(const ps_ctx *c, const char *dir) {
    const char *base;
    char place[PS_LIMIT_NAME + 2];
    if (!c->module) return mkdir(dir, 0777);
    if (!option_place(c, dir, place)) return -1;
    int above = root_parent(c->module, place, &base);
    return above < 0 ? -1 : mkdirat(above, base, 0777);
}

/* util1.c:make_path: makes what is missing of the first `len` bytes of path. The count of directories made (or that a dry run
 * would make), -1 with errno set. */
static int make_path(const ps_ctx *c, const char *path, size_t len) {
    char part[PATH_ROOM];
    int made = 0;
    memcpy(part, path, len);
    part[len] = 0;
    for (size_t i = 1; i <= len; i++) {
        if (i < len && part[i] != '/') continue;
        if (part[i - 1] == '/') continue;
        part[i] = 0;
        struct stat st;
        if (option_stat(c, NULL, part, &st) == 0) {
            if (!S_ISDIR(st.st_mode)) {
                errno = ENOTDIR;
                return -1;
            }
        } else if (errno != ENOENT || (!c->o.dry_run && make_dir(c, part) < 0)) {
            return -1;
        } else {
            made++;
        }
        part[i] = i < len ? '/' : 0;
    }
    return made;
}

static int mkdir_failed(ps_ctx *c, const char *path) {
    return dest_failed(c, 11, errno, "mkdir", path, " failed");
}

/* --mkpath. *found is the destination's state afterwards. */
static int make_parents(ps_ctx *c, char *dest, u64 total, bool *found, struct stat *st) {
    char *slash = strrchr(dest, '/');
    bool trailing = slash && !slash[1], whole = total > 1 && !trailing;
    size_t len = whole ? strlen(dest) : slash ? (size_t)(slash - dest) : 0;
    if (!len) return PS_OK;
    int made = make_path(c, dest, len);
    if (made < 0) return mkdir_failed(c, dest);
    if (!made) return PS_OK;
    if (c->o.info_name || c->o.stdout_format_has_i) {
        if (slash && (total == 1 || trailing)) *slash = 0;
        ps_log(c, PS_LOG_INFO, "created %d director%s for %s\n", made, made == 1 ? "y" : "ies", dest);
        if (slash && (total == 1 || trailing)) *slash = '/';
    }
    *found = option_stat(c, NULL, dest, st) == 0;
    return PS_OK;
}

/* The destination must become a directory: it was asked for by a slash, or several entries need one. */
static int make_directory(ps_ctx *c, ps_flists *all, char *dest, bool trailing, bool found, ps_root **root) {
    ps_flist *l = all->first;
    if (trailing && strlen(dest) > 1) dest[strlen(dest) - 1] = 0;
    if (found) return ps_fail(c, 1, 0, "ERROR: destination path is not a directory");
    if (!c->o.dry_run && make_dir(c, dest) < 0) return mkdir_failed(c, dest);
    if (l && l->high > l->low && file_is_dot(l, &l->files[l->low])) {
        l->files[l->low].flags |= PS_F_DIR_CREATED;
        for (u32 i = 0; i < all->dir_entry_count; i++) /* the same entry's copy */
            if (all->dir_entries[i].list_ndx == l->ndx_start + (i32)l->low) all->dir_entries[i].file.flags |= PS_F_DIR_CREATED;
    }
    if (c->o.info_name || c->o.stdout_format_has_i) ps_log(c, PS_LOG_INFO, "created directory %s\n", dest);
    if (!c->o.dry_run) return enter(c, dest, 2, root);
    c->o.dry_run++; /* the directory does not really exist */
    return note_directory(c, dest);
}

static int local_name(ps_ctx *c, ps_flists *all, char *dest, ps_root **root) {
    u64 total = all->total_count;
    struct stat st = {0};
    if (!*dest) memcpy(dest, ".", 2);
    bool found = option_stat(c, NULL, dest, &st) == 0;
    int err = found ? 0 : errno;
    char *slash = strrchr(dest, '/');
    bool trailing = slash && !slash[1];
    if (c->o.mkpath && !found && (slash || total > 1)) {
        if (make_parents(c, dest, total, &found, &st) != PS_OK) return PS_FAIL;
        if (!found && c->o.dry_run) err = ENOENT;
    }
    if (found) {
        if (S_ISDIR(st.st_mode)) return enter(c, dest, 1, root);
        if (total > 1) return ps_fail(c, 3, 0, "ERROR: destination must be a directory when copying more than 1 file");
        if (all->first->count && S_ISDIR(all->first->files[0].mode))
            return ps_fail(c, 3, 0, "ERROR: cannot overwrite non-directory with a directory");
    } else if (err == ELOOP && c->module && total == 1 && !trailing && !S_ISDIR(all->first->files[0].mode)) {
        /* A symlink that leads out of the module is replaced like one that leads nowhere. */
    } else if (err != ENOENT) {
        return dest_failed(c, 3, err, "ERROR: cannot stat destination", dest, "");
    }
    if (total > 1 || trailing) return make_directory(c, all, dest, trailing, found, root);
    /* One entry that is no directory, perhaps on top of an old one: the last component is its name. */
    const char *name = slash ? slash + 1 : dest;
    if (ps_ctx_set_string(c, PS_STR_LOCAL_NAME, name, strlen(name)) != PS_OK) return PS_FAIL;
    if (!slash) return enter(c, ".", 3, root);
    char dir[PATH_ROOM];
    size_t n = slash == dest ? 1 : (size_t)(slash - dest);
    memcpy(dir, dest, n);
    dir[n] = 0;
    if (c->o.dry_run && c->o.mkpath && option_stat(c, NULL, dir, &st) < 0) {
        c->o.dry_run++;
        return note_directory(c, dir);
    }
    return enter(c, dir, 3, root);
}

static const char *alt_option(const ps_ctx *c) {
    switch (c->o.alt_kind) {
    case PS_ALT_COMPARE: return "--compare-dest";
    case PS_ALT_COPY: return "--copy-dest";
    default: return "--link-dest";
    }
}

/* Makes relative alternate destinations absolute, counted from the destination, and warns of missing ones. */
static int check_alternates(ps_ctx *c, const ps_root *root) {
    char path[PATH_ROOM], base[PATH_ROOM];
    snprintf(base, sizeof base, "%s", ps_str(c, PS_STR_CURR_DIR));
    for (u32 i = 0; i < c->alt_count; i++) {
        char *dir = c->alt_dirs[i];
        size_t n = strlen(dir);
        if (n > 1 && dir[n - 1] == '/') dir[n - 1] = 0;
        if (*dir != '/' && !(c->module && !root_whole(c->module))) {
            const char *rest = dir;
            char *slash = strrchr(base, '/');
            bool up = c->o.dry_run > 1 && slash && strncmp(dir, "../", 3) == 0;
            if (up) {
                *slash = 0;
                rest += 3;
            }
            int len = snprintf(path, sizeof path, "%s/%s", base, rest);
            if (up) *slash = '/';
            if (len < 0 || (size_t)len >= sizeof path) return ps_fail(c, 1, 0, "%s arg is too long: %s", alt_option(c), dir);
            char *copy = strdup(path);
            if (!copy) return ps_fail_memory(c, "an option's value");
            free(dir);
            c->alt_dirs[i] = dir = copy;
        }
        struct stat st;
        if (option_stat(c, root, dir, &st) < 0)
            ps_log(c, PS_LOG_WARNING, "%s arg does not exist: %s\n", alt_option(c), dir);
        else if (!S_ISDIR(st.st_mode))
            ps_log(c, PS_LOG_WARNING, "%s arg is not a dir: %s\n", alt_option(c), dir);
    }
    return PS_OK;
}

static int check_temp_dir(ps_ctx *c, const ps_root *root) {
    const char *dir = ps_str(c, PS_STR_TEMP_DIR);
    struct stat st;
    if (!dir) return PS_OK;
    if (option_stat(c, root, dir, &st) < 0) {
        if (errno == ENOENT) return ps_fail(c, 1, errno, "The temp-dir does not exist: %s", dir);
        return ps_fail(c, 11, errno, "Failed to stat temp-dir %s: %s", dir, strerror(errno));
    }
    return S_ISDIR(st.st_mode) ? PS_OK : ps_fail(c, 1, 0, "The temp-dir is not a directory: %s", dir);
}

static int check_backup_dir(ps_ctx *c, const ps_root *root) {
    const char *dir = ps_str(c, PS_STR_BACKUP_DIR);
    struct stat st;
    if (!dir) return PS_OK;
    if (option_stat(c, root, dir, &st) < 0) {
        if (errno != ENOENT) return ps_fail(c, 11, errno, "Failed to stat %s: %s", dir, strerror(errno));
        if (c->o.info_backup >= 1) ps_log(c, PS_LOG_INFO, "(new) backup_dir is %s\n", dir);
        return PS_OK;
    }
    if (!S_ISDIR(st.st_mode)) return ps_fail(c, 1, 0, "The backup-dir is not a directory: %s", dir);
    if (c->o.info_backup >= 1) ps_log(c, PS_LOG_INFO, "backup_dir is %s\n", dir);
    return PS_OK;
}

/* ---- what a daemon's client may name ------------------------------------------------------------ */

static bool excluded(const ps_ctx *c, ps_rules *rules, const char *path) {
    char place[PS_LIMIT_NAME + 2];
    size_t n = option_place(c, path, place);
    return n && strcmp(place, ".") != 0 && rules_path_excluded(rules, place, n, false);
}

/* options.c: these never lead above the destination (--partial-dir: above a file's directory), but in a chroot of its own. */
static int keep_below(ps_ctx *c, int which) {
    char out[PS_LIMIT_NAME + 3] = "/";
    const char *text = ps_str(c, which);
    if (!text || root_whole(c->module)) return PS_OK;
    size_t n = strlen(text), slash = *text == '/' ? 1 : 0;
    if (n > PS_LIMIT_NAME) return ps_fail(c, 1, ENAMETOOLONG, "an option's path is too long");
    n = name_sanitize(text, n, 0, false, out + slash);
    return ps_ctx_set_string(c, which, out, n + slash);
}

static int options_rejected(ps_ctx *c, bool early) {
    return ps_fail(c, early ? 4 : 1, 0, "%sYour options have been rejected by the server.", early ? "rsync: " : "");
}

/* main.c:do_server_recv, options.c: places that the daemon's rules exclude. Absolute ones are known before the destination is
 * made, the others count from it. */
static int check_options(ps_ctx *c, ps_rules *rules, bool absolute_only) {
    static const int paths[] = {PS_STR_TEMP_DIR, PS_STR_BACKUP_DIR, PS_STR_PARTIAL_DIR};
    if (!rules || !rules_any_daemon(rules)) return PS_OK;
    for (u32 i = 0; i < c->alt_count; i++)
        if ((!absolute_only || *c->alt_dirs[i] == '/') && excluded(c, rules, c->alt_dirs[i])) return options_rejected(c, false);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const char *path = ps_str(c, paths[i]);
        if (absolute_only && path && *path != '/') continue;
        bool everywhere = paths[i] == PS_STR_PARTIAL_DIR && path && *path != '/'; /* a directory beside each file */
        if (path && !everywhere && (!*path || excluded(c, rules, path)))
            return options_rejected(c, paths[i] != PS_STR_PARTIAL_DIR); /* rsync finds these while it reads the options */
    }
    return PS_OK;
}

int receiving_destination(ps_ctx *c, ps_flists *all, ps_rules *rules, const char *dest, ps_root **root) {
    char copy[PATH_ROOM];
    *root = NULL;
    size_t n = strlen(dest);
    if (n > PS_LIMIT_NAME) return ps_fail(c, 3, ENAMETOOLONG, "the destination's path is too long");
    memcpy(copy, dest, n + 1);
    if (c->module) {
        static const int kept[] = {PS_STR_TEMP_DIR, PS_STR_BACKUP_DIR, PS_STR_PARTIAL_DIR};
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (keep_below(c, kept[i]) != PS_OK) return PS_FAIL;
        if (check_options(c, rules, true) != PS_OK) return PS_FAIL;
        if (rules && rules_any_daemon(rules) && excluded(c, rules, copy))
            return ps_fail(c, 3, 0, "ERROR: daemon has excluded destination \"%s\"", copy);
    }
    if (local_name(c, all, copy, root) != PS_OK) return PS_FAIL;
    if (c->module && check_options(c, rules, false) != PS_OK) return PS_FAIL;
    if (check_alternates(c, *root) != PS_OK || check_backup_dir(c, *root) != PS_OK) return PS_FAIL;
    return check_temp_dir(c, *root);
}
