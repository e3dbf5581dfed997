#include "fs/root.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

#ifndef O_PATH
#define O_PATH O_RDONLY
#endif
#define DIR_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define SLOTS 12

/* An open directory beneath the root; its path is kept to compare and to drop it when it is replaced. */
typedef struct dir_slot {
    int fd;
    u32 len, cap;
    char *path;
} dir_slot;

struct ps_root {
    int fd;
    bool no_openat2; /* the kernel lacks it or a sandbox forbids it */
    bool whole;      /* it is this process's own root directory */
    u32 used;
    dir_slot slots[SLOTS]; /* most recent first */
};

static ps_root *root_wrap(ps_ctx *c, int fd) {
    ps_root *r = calloc(1, sizeof *r);
    if (!r) {
        close(fd);
        ps_fail_memory(c, "a directory handle");
        return NULL;
    }
    r->fd = fd;
    return r;
}

/* Makes `path` with its missing parents (--mkpath). false with errno set. */
static bool make_path(const char *path) {
    char name[PS_LIMIT_NAME + 1];
    size_t n = strlen(path);
    if (n > PS_LIMIT_NAME) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(name, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (name[i] != '/') continue;
        name[i] = 0;
        if (mkdir(name, 0777) < 0 && errno != EEXIST) return false;
        name[i] = '/';
    }
    return mkdir(name, 0777) == 0 || errno == EEXIST;
}

/* The path as messages show it (util1.c:full_fname): absolute. */
static const char *shown_path(const char *path, char out[2 * PS_LIMIT_NAME]) {
    char here[PS_LIMIT_NAME];
    bool plain = *path == '/' || !getcwd(here, sizeof here);
    const char *rest = strcmp(path, ".") == 0 ? "" : path;
    if (plain)
        snprintf(out, 2 * PS_LIMIT_NAME, "%s", path);
    else
        snprintf(out, 2 * PS_LIMIT_NAME, "%s%s%s", here, *rest && strcmp(here, "/") != 0 ? "/" : "", rest);
    return out;
}

ps_root *root_open(ps_ctx *c, const char *path, bool create) {
    char shown[2 * PS_LIMIT_NAME];
    if (!*path) path = ".";
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) fd = open(path, DIR_FLAGS);
    if (fd < 0 && errno == ENOENT && create) {
        bool made = c->o.mkpath ? make_path(path) : mkdir(path, 0777) == 0;
        if (!made) {
            int err = errno;
            ps_fail(c, 11, err, "mkdir \"%s\" failed: %s (%d)", shown_path(path, shown), strerror(err), err);
            return NULL;
        }
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0) {
        int err = errno;
        ps_fail(c, 3, err, "change_dir \"%s\" failed: %s (%d)", shown_path(path, shown), strerror(err), err);
        return NULL;
    }
    return root_wrap(c, fd);
}

ps_root *root_from_fd(ps_ctx *c, int fd) { return root_wrap(c, fd); }

void root_free(ps_root *r) {
    if (!r) return;
    for (u32 i = 0; i < SLOTS; i++) {
        if (i < r->used) close(r->slots[i].fd);
        free(r->slots[i].path);
    }
    close(r->fd);
    free(r);
}

void root_is_whole(ps_root *r) { r->whole = true; }
bool root_whole(const ps_root *r) { return r->whole; }

int root_fd(const ps_root *r) { return r->fd; }

/* ---- walking ------------------------------------------------------------------------------ */

#ifdef SYS_openat2
static int beneath(ps_root *r, int dirfd, const char *path, int flags, mode_t mode, u64 resolve) {
    struct open_how how = {.flags = (u64)(u32)(flags | O_CLOEXEC), .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0, .resolve = resolve};
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0) return (int)fd;
        /* EAGAIN: a rename elsewhere made the kernel unsure that ".." stayed beneath; it is told to try again. */
        if (errno == EAGAIN && tries < 64) continue;
        if (errno == ENOSYS || errno == EPERM || errno == E2BIG) r->no_openat2 = true;
        return -1;
    }
}
#define RESOLVE_FOLLOW (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
#define RESOLVE_WHOLE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define RESOLVE_PLAIN (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
#else
static int beneath(ps_root *r, int dirfd, const char *path, int flags, mode_t mode, u64 resolve) {
    (void)dirfd, (void)path, (void)flags, (void)mode, (void)resolve;
    r->no_openat2 = true;
    errno = ENOSYS;
    return -1;
}
#define RESOLVE_FOLLOW 0
#define RESOLVE_WHOLE 0
#define RESOLVE_PLAIN 0
#endif

/* Without openat2: one component after the other, no symlink followed, no "..". `path` is walked from `start`;
 * the last component is opened with `flags`. */
static int walk(int start, const char *path, int flags, mode_t mode) {
    int at = start;
    char part[256];
    for (;;) {
        while (*path == '/') path++;
        const char *slash = strchr(path, '/');
        size_t n = slash ? (size_t)(slash - path) : strlen(path);
        const char *rest = path + n;
        while (*rest == '/') rest++;
        int fd = -1;
        if (n >= sizeof part) {
            errno = ENAMETOOLONG;
        } else {
            memcpy(part, path, n);
            part[n] = 0;
            if (!n) memcpy(part, ".", 2);
            if (strcmp(part, "..") == 0)
                errno = EXDEV;
            else
                fd = openat(at, part, *rest ? DIR_FLAGS | O_NOFOLLOW : flags | O_NOFOLLOW | O_CLOEXEC, mode);
        }
        int saved = errno;
        if (at != start) close(at);
        errno = saved;
        if (fd < 0 || !*rest) return fd;
        at = fd;
        path = rest;
    }
}

static int open_beneath(ps_root *r, const char *path, int flags, mode_t mode) {
    if (!r->no_openat2) {
        int fd = beneath(r, r->fd, path, flags, mode, r->whole ? RESOLVE_WHOLE : RESOLVE_FOLLOW);
        if (fd >= 0 || !r->no_openat2) return fd;
    }
    return r->whole ? openat(r->fd, path, flags | O_CLOEXEC, mode) : walk(r->fd, path, flags, mode);
}

/* Leading slashes and "." mean the root itself, as in a chroot. */
static const char *relative(const char *path, size_t *len) {
    while (*len && *path == '/') path++, --*len;
    if (*len == 1 && *path == '.') *len = 0;
    return path;
}

/* ---- cache -------------------------------------------------------------------------------- */

static void to_front(ps_root *r, u32 i) {
    dir_slot s = r->slots[i];
    memmove(r->slots + 1, r->slots, i * sizeof s);
    r->slots[0] = s;
}

/* The longest cached directory that holds `path`; -1 none. */
static int nearest(const ps_root *r, const char *path, size_t len, size_t *used) {
    int fd = -1;
    *used = 0;
    for (u32 i = 0; i < r->used; i++) {
        const dir_slot *s = &r->slots[i];
        if (s->len < len && s->len > *used && path[s->len] == '/' && memcmp(s->path, path, s->len) == 0) {
            fd = s->fd;
            *used = s->len;
        }
    }
    return fd;
}

static int open_dir(ps_root *r, const char *path, size_t len) {
    size_t shared;
    int near = nearest(r, path, len, &shared);
    if (near >= 0) {
        const char *rest = path + shared + 1;
        int fd;
        if (r->no_openat2)
            fd = walk(near, rest, DIR_FLAGS, 0);
        else
            fd = beneath(r, near, rest, DIR_FLAGS, 0, RESOLVE_PLAIN);
        /* A symlink may lead elsewhere in the tree, above `near`: only the walk from the root can tell. */
        if (fd >= 0 || errno == ENOENT) return fd;
    }
    return open_beneath(r, path, DIR_FLAGS, 0);
}

int root_dir(ps_root *r, const char *path, size_t len) {
    if (PS_LIKELY(r->used && r->slots[0].len == len && memcmp(r->slots[0].path, path, len) == 0)) return r->slots[0].fd;
    path = relative(path, &len);
    if (!len) return r->fd;
    for (u32 i = 0; i < r->used; i++) {
        if (r->slots[i].len != len || memcmp(r->slots[i].path, path, len) != 0) continue;
        to_front(r, i);
        return r->slots[0].fd;
    }
    char name[PS_LIMIT_NAME + 1];
    if (len > PS_LIMIT_NAME) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name, path, len);
    name[len] = 0;
    int fd = open_dir(r, name, len);
    if (fd < 0) {
        if (errno == EXDEV) errno = ELOOP; /* a symlink leads out: rsync's error, which says more than the kernel's */
        return -1;
    }
    u32 i = r->used < SLOTS ? r->used++ : SLOTS - 1;
    dir_slot *s = &r->slots[i];
    if (i == SLOTS - 1 && s->len) close(s->fd);
    s->len = 0;
    if (s->cap < len + 1) {
        char *grown = realloc(s->path, len + 1);
        if (!grown) {
            r->used--;
            close(fd);
            errno = ENOMEM;
            return -1;
        }
        s->path = grown;
        s->cap = (u32)len + 1;
    }
    memcpy(s->path, name, len + 1);
    s->len = (u32)len;
    s->fd = fd;
    to_front(r, i);
    return fd;
}

void root_forget(ps_root *r, const char *path, size_t len) {
    path = relative(path, &len);
    for (u32 i = 0; i < r->used;) {
        dir_slot *s = &r->slots[i];
        bool below = s->len >= len && memcmp(s->path, path, len) == 0 && (!len || s->len == len || s->path[len] == '/');
        if (!below) {
            i++;
            continue;
        }
        close(s->fd);
        dir_slot spare = {.path = s->path, .cap = s->cap};
        memmove(s, s + 1, (r->used - i - 1) * sizeof *s);
        r->slots[--r->used] = spare;
    }
}

/* ---- files -------------------------------------------------------------------------------- */

int root_parent(ps_root *r, const char *path, const char **base) {
    const char *slash = strrchr(path, '/');
    *base = slash ? slash + 1 : path;
    return root_dir(r, path, slash ? (size_t)(slash - path) : 0);
}

int root_openat(ps_root *r, const char *path, int flags, mode_t mode) {
    if (flags & O_NOFOLLOW) {
        const char *base;
        int dir = root_parent(r, path, &base);
        if (dir < 0) return -1;
        if (strcmp(base, "..") == 0) {
            errno = EXDEV;
            return -1;
        }
        return openat(dir, *base ? base : ".", flags | O_CLOEXEC, mode);
    }
    size_t len = strlen(path);
    path = relative(path, &len);
    return open_beneath(r, len ? path : ".", flags, mode);
}

/* ---- paths of the operator ------------------------------------------------------------------ */

#define MAX_LINKS 40 /* as the kernel */

/* Without any symlink on the way nobody's trust is in question. -1 with ELOOP: look at each. */
static int open_linkless(int dirfd, const char *path, int flags) {
#ifdef SYS_openat2
    struct open_how how = {.flags = (u64)(u32)(flags | O_CLOEXEC), .resolve = RESOLVE_NO_SYMLINKS};
    long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == E2BIG)) errno = ELOOP;
    return (int)fd;
#else
    (void)dirfd, (void)path, (void)flags;
    errno = ELOOP;
    return -1;
#endif
}

/* Puts the symlink's target in the place of the component at `at`. The rest of the path, NULL with errno set. */
static char *splice_link(int dir, const char *part, char *path, const char *rest) {
    char target[PS_LIMIT_NAME + 1];
    ssize_t n = readlinkat(dir, part, target, PS_LIMIT_NAME);
    size_t tail = strlen(rest);
    if (n < 0) return NULL;
    if ((size_t)n + tail > PS_LIMIT_NAME) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    memmove(path + n, rest, tail + 1);
    memcpy(path, target, (size_t)n);
    return path;
}

/* One step of the walk: the descriptor for the component; -1 and *link: it is a symlink that may be followed. */
static int step(int dir, const char *part, int flags, bool make, bool *link) {
    struct stat st;
    *link = false;
    if (fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT || !make || (mkdirat(dir, part, 0777) < 0 && errno != EEXIST)) return -1;
    } else if (S_ISLNK(st.st_mode)) {
        *link = st.st_uid == 0 || st.st_uid == geteuid();
        errno = ELOOP;
        return -1;
    }
    return openat(dir, part, flags | O_NOFOLLOW | O_CLOEXEC);
}

static int walk_trusted(int at, char *path, int flags, bool make) {
    char *rest = path;
    for (int links = 0;;) {
        char part[256];
        rest += strspn(rest, "/");
        size_t n = strcspn(rest, "/");
        char *next = rest + n;
        bool last = !next[strspn(next, "/")], link;
        if (n >= sizeof part) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, rest, n);
        memcpy(part + n, n ? "" : ".", n ? 1 : 2);
        int fd = step(at, n ? part : ".", last ? flags : DIR_FLAGS, make, &link);
        if (fd < 0 && link && ++links <= MAX_LINKS && (rest = splice_link(at, part, path, next))) {
            if (*rest != '/') continue;
            fd = open("/", DIR_FLAGS);
            last = false;
            next = rest;
        }
        int err = errno;
        close(at);
        errno = err;
        if (fd < 0 || last) return fd;
        at = fd;
        rest = next;
    }
}

int open_trusted(int dirfd, const char *path, int flags, bool make) {
    char copy[PS_LIMIT_NAME + 1];
    size_t n = strlen(path);
    if (n > PS_LIMIT_NAME) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open_linkless(dirfd, n ? path : ".", flags);
    if (fd >= 0 || (errno != ELOOP && !(make && errno == ENOENT))) return fd;
    memcpy(copy, path, n + 1);
    int at = *path == '/' ? open("/", DIR_FLAGS) : openat(dirfd, ".", DIR_FLAGS);
    return at < 0 ? -1 : walk_trusted(at, copy, flags, make);
}

int open_trusted_parent(int dirfd, const char *path, const char **base) {
    char dir[PS_LIMIT_NAME + 1];
    const char *slash = strrchr(path, '/');
    size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    *base = slash ? slash + 1 : path;
    if (n > PS_LIMIT_NAME) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(dir, path, n);
    dir[n] = 0;
    return open_trusted(dirfd, dir, DIR_FLAGS, false);
}

int open_trusted_file(int dirfd, const char *path, int flags) {
    const char *base;
    int dir = open_trusted_parent(dirfd, path, &base);
    if (dir < 0) return -1;
    int fd = openat(dir, base, flags | O_NOFOLLOW | O_CLOEXEC), err = errno;
    close(dir);
    errno = err;
    return fd;
}
