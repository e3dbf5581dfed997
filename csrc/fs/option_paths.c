#include "fs/option_paths.h"

#include "core/names.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

size_t option_place(const ps_ctx *c, const char *path, char out[PS_LIMIT_NAME + 2]) {
    char whole[2 * PS_LIMIT_NAME + 4];
    const char *here = ps_str(c, PS_STR_CURR_DIR); /* the destination within the module */
    int n = snprintf(whole, sizeof whole, "%s/%s", *path == '/' || !here ? "" : here, path);
    if (n < 0 || n > PS_LIMIT_NAME) {
        errno = ENAMETOOLONG;
        return 0;
    }
    size_t len = name_sanitize(whole, (size_t)n, 0, false, out);
    while (len > 1 && out[len - 1] == '/') out[--len] = 0;
    return len;
}

static int start(const ps_root *r) { return r ? root_fd(r) : AT_FDCWD; }

/* A symlink that leads out of the module: rsync's error, which says more than the kernel's. */
static int beneath(const ps_ctx *c, const char *place, int flags) {
    int fd = root_openat(c->module, place, flags, 0);
    if (fd < 0 && errno == EXDEV) errno = ELOOP;
    return fd;
}

static bool make_missing(const ps_ctx *c, char *place) {
    for (char *slash = place; slash;) {
        const char *base;
        slash = strchr(slash + 1, '/');
        if (slash) *slash = 0;
        int above = root_parent(c->module, place, &base);
        bool ok = above >= 0 && (mkdirat(above, base, 0777) == 0 || errno == EEXIST);
        if (slash) *slash = '/';
        if (!ok) return false;
    }
    return true;
}

int option_open(const ps_ctx *c, const ps_root *r, const char *path, int flags, bool make) {
    char place[PS_LIMIT_NAME + 2];
    if (!c->module) return open_trusted(start(r), path, flags, make);
    if (!option_place(c, path, place)) return -1;
    int fd = beneath(c, place, flags);
    if (fd >= 0 || errno != ENOENT || !make) return fd;
    return make_missing(c, place) ? beneath(c, place, flags) : -1;
}

int option_parent(const ps_ctx *c, const ps_root *r, const char *path, const char **base) {
    char place[PS_LIMIT_NAME + 2];
    const char *leaf;
    if (!c->module) return open_trusted_parent(start(r), path, base);
    const char *slash = strrchr(path, '/');
    *base = slash ? slash + 1 : path;
    if (strcmp(*base, ".") == 0) return option_open(c, r, path, O_PATH | O_DIRECTORY, false); /* of an alternate destination itself */
    if (!**base || strcmp(*base, "..") == 0) {
        errno = EINVAL;
        return -1;
    }
    if (!option_place(c, path, place)) return -1;
    int fd = root_parent(c->module, place, &leaf);
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int option_file(const ps_ctx *c, const ps_root *r, const char *path, int flags) {
    char place[PS_LIMIT_NAME + 2];
    if (!c->module) return open_trusted_file(start(r), path, flags);
    return option_place(c, path, place) ? beneath(c, place, flags | O_NOFOLLOW) : -1;
}

int option_lstat(const ps_ctx *c, const ps_root *r, const char *path, struct stat *st) {
    const char *base;
    int above = option_parent(c, r, path, &base);
    if (above < 0) return -1;
    int status = fstatat(above, *base ? base : ".", st, AT_SYMLINK_NOFOLLOW), err = errno;
    close(above);
    errno = err;
    return status;
}

int option_stat(const ps_ctx *c, const ps_root *r, const char *path, struct stat *st) {
    if (!c->module) return fstatat(start(r), path, st, 0);
    int fd = option_open(c, r, path, O_PATH, false);
    if (fd < 0) return -1;
    int status = fstat(fd, st);
    close(fd);
    size_t n = strlen(path);
    if (status == 0 && n && path[n - 1] == '/' && !S_ISDIR(st->st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return status;
}
